#!/usr/bin/env bash
# Install imbdet with each supported Python into an environment of its own and run tests there: `make matrix`.
# One version after another; the status is other than 0 unless every version ran and passed.
#
#   tools/check_pythons.sh [PYTEST ARGUMENT ...]     without arguments a quick part of the tests; `tests` for all
#
# Settings: VERSIONS ("3.10 3.11 3.12 3.13"), TORCH ("torch torchvision"), PIP_ARGS (more arguments of pip), EXTRAS, KEEP (a
# folder in which the environments stay; without it each is removed after its tests: some GB with torch's CUDA builds).
# Interpreters are looked for as python3.X on the PATH and among those of pyenv.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
versions=${VERSIONS:-3.10 3.11 3.12 3.13}
extras=${EXTRAS:-dev,pretrained,sampling}
quick=(tests/test_imports.py tests/test_init.py tests/test_slots.py tests/test_runs.py tests/test_every_config.py
    tests/config tests/data/test_records.py tests/data/test_loader.py tests/modeling/test_criterion.py
    tests/modeling/test_detectors.py tests/engine/test_loop.py tests/commands/test_train.py)
[ $# -gt 0 ] || set -- "${quick[@]}"
place=${KEEP:-$(mktemp -d)}
mkdir -p "$place"
place=$(cd "$place" && pwd)
[ -n "${KEEP:-}" ] || trap 'rm -rf "$place"' EXIT

interpreter() { # 3.12 -> the path of an interpreter of that version that starts
    local found candidate
    for candidate in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        [ "$found" = "$1" ] && echo "$candidate" && return
    done
    return 1
}

check() { # version, log, pytest's words: 0 passed, 1 failed, 2 not installed
    local version=$1 log=$2 python pip
    shift 2
    python=$(interpreter "$version") || { echo "no interpreter" >"$log"; return 2; }
    [ -x "$place/$version/bin/python" ] || "$python" -m venv "$place/$version" >"$log" 2>&1 || return 2
    pip="$place/$version/bin/python -m pip --quiet --disable-pip-version-check install ${PIP_ARGS:-}"
    # shellcheck disable=SC2086  # lists of words
    { $pip ${TORCH:-torch torchvision} && $pip -e "${root}[$extras]"; } >"$log" 2>&1 || return 2
    cd "$root" || return 2
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$place/$version/bin/python" -m pytest -q -p no:cacheprovider -m "not slow" "$@" >"$log" 2>&1 ||
        return 1
}

bad=0
for version in $versions; do
    log=$place/$version.log
    (check "$version" "$log" "$@")
    status=$?
    last=$(grep -v -e '^WARNING' -e '^$' "$log" | tail -1)
    case $status in
        0) said="passed: $last" ;;
        1) said="FAILED: $last" && grep -E '^(FAILED|ERROR)' "$log" | head -20 ;;
        *) said="NOT INSTALLED: $last" ;;
    esac
    torch=$("$place/$version/bin/python" -c 'import torch; print(torch.__version__)' 2>/dev/null)
    echo "Python $version, torch ${torch:-none}: $said"
    [ $status = 0 ] || bad=1
    [ -n "${KEEP:-}" ] || rm -rf "${place:?}/$version"
done
exit $bad
