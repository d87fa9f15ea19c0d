#!/usr/bin/env bash
# Build the source archive and the wheel, install the wheel into an empty environment, and use it outside of the checkout.
# Ends with a status other than 0 at the first thing that is missing or fails.
#
#   tools/check_wheel.sh [DATA]     DATA: a folder in COCO, VOC or YOLO format; without it, small pictures of shapes
#
# Settings: PYTHON (python3), TORCH ("torch torchvision"), PIP_ARGS (more arguments of pip), KEEP (a folder that stays, with
# the archive, the wheel, the environment and all that was written; without it a temporary one that is removed).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
data=${1:-}
[ -z "$data" ] || data=$(cd "$data" && pwd)
if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    place=$(cd "$KEEP" && pwd)
else
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
fi

step() { printf '\n== %s\n' "$*"; }
fail() { echo "check_wheel: $*" >&2; exit 1; }
pip_of() { "$1/bin/python" -m pip --quiet --disable-pip-version-check "${@:2}"; }

step "build from the files that git knows, so that nothing left over in the checkout gets in"
rm -rf "$place/source" "$place/dist" "$place/away"
mkdir -p "$place/source" "$place/dist" "$place/away"
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && tar --null --ignore-failed-read -T - -cf -) |
    tar -C "$place/source" -xf -
[ -x "$place/build/bin/python" ] || "$python" -m venv "$place/build"
# shellcheck disable=SC2086  # PIP_ARGS is a list of words
pip_of "$place/build" install ${PIP_ARGS:-} build
"$place/build/bin/python" -m build --outdir "$place/dist" "$place/source" >"$place/build.log" 2>&1 || {
    tail -20 "$place/build.log" >&2
    fail "the build failed"
}
ls -l "$place/dist"
wheel=$(echo "$place"/dist/imbdet-*.whl)
(cd "$place/source" && find imbdet configs -type f | sed 's,^configs/,imbdet/configs/,' | sort) >"$place/expected"
"$place/build/bin/python" -m zipfile -l "$wheel" | awk 'NR > 1 {print $1}' | grep '^imbdet/' | sort >"$place/found"
missing=$(comm -23 "$place/expected" "$place/found")
[ -z "$missing" ] || fail "not in the wheel: $missing"
echo "$(wc -l <"$place/found") files, all that imbdet/ and configs/ hold"

step "install into an empty environment"
[ -x "$place/installed/bin/python" ] || "$python" -m venv "$place/installed"
# shellcheck disable=SC2086
pip_of "$place/installed" install ${PIP_ARGS:-} ${TORCH:-torch torchvision}
# shellcheck disable=SC2086
pip_of "$place/installed" install ${PIP_ARGS:-} "$wheel"
pip_of "$place/installed" install --force-reinstall --no-deps "$wheel"
"$place/installed/bin/python" -m pip check
rm -rf "$place/source"  # nothing may be read from it any more

cd "$place/away"
unset PYTHONPATH
export PATH="$place/installed/bin:$PATH"
python - <<'P'
import imbdet, sys
assert imbdet.__file__.startswith(sys.prefix), f"imbdet comes from {imbdet.__file__}, not from {sys.prefix}"
P
if [ -z "$data" ]; then
    data=$place/away/shapes
    python - "$data" <<'P'
import json, sys
from pathlib import Path

from torchvision.io import write_png

from imbdet.data.datasets.shapes import shapes

root = Path(sys.argv[1])
for split in ("train", "val", "test"):
    records, folder = shapes(split, num_images=24), root / "images" / split
    folder.mkdir(parents=True)
    for i in range(len(records)):
        write_png(records.images[i], str(folder / records.images.name(i)))
    (root / f"instances_{split}.json").write_text(json.dumps(records.to_coco()))
P
fi
picture=$(find -L "$data" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) | sort | head -1)

run() { # the words of a command; its output is shown when it fails
    echo "   imbdet $*"
    imbdet "$@" >"$place/run.log" 2>&1 || {
        local status=$?
        tail -30 "$place/run.log" >&2
        fail "'imbdet $*' ended with $status"
    }
}
wrote() { for file in "$@"; do [ -s "$file" ] || fail "$file was not written"; done; }

step "use it in an empty folder"
run --help
for verb in $(imbdet --help | sed -n 's/^  \([a-z_]*\)  .*/\1/p'); do
    run "$verb" --help
done
run demo train.max_iter=10
wrote output/demo/report.html output/demo/best.pth output/demo/result.json
run list_remedies
run remedy focal_loss
run show_config --config baselines/retinanet_r50_coco --remedy giou_loss
run check_data "$data"
run diagnose "$data" --out diagnosis
wrote diagnosis/report.html diagnosis/report.json
run balance "$data" balanced --cap 1000
run compare --config baselines/faster_rcnn_shapes --remedy focal_loss --seeds 2 --out output/plan --plan-only
run predict --run output/demo "$picture" --threshold 0.01 --save yolo --save label_studio --save fiftyone --out predictions
wrote predictions/predictions.json
[ "$(find predictions/labels -name '*.txt' | wc -l)" = 1 ] || fail "predictions/labels does not hold one file"
run evaluate --run output/demo --split val
run plot_losses --out losses.svg
wrote losses.svg
for page in output/demo/report.html diagnosis/report.html; do
    grep -q '<style' "$page" || fail "$page has no style sheet"
done

step "the wheel works away from the checkout"
