"""`python -m tests.fuzz N`: in a child process of limited memory, which is started again when it dies."""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

MEMORY = 4 << 30  #: bytes that the child may allocate; the libraries' mapped code, 2 GB and more, is not among them
SILENT = 180.0  #: seconds without a line from the child after which it hangs where no signal reaches it


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=1000, metavar="N", help="inputs in all (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="some kinds, separated by commas")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="one input again; it stays in its folder")
    parser.add_argument("--out", default="output/fuzz", metavar="DIR", help="where inputs that fail are kept")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _child(options)
    cases = [options.case] if options.case else plan_cases(options.number, options.kinds)
    return lead(cases, options)


def plan_cases(number, kinds=""):
    """["coco:0", "yolo:0", ...]: every kind has its share, in turns."""
    from .inputs import KINDS

    wanted = kinds.split(",") if kinds else list(KINDS)
    total = sum(KINDS[name][0] for name in wanted)
    counts = {name: round(number * KINDS[name][0] / total) or 1 for name in wanted}
    cases = [(i / count, f"{name}:{i}") for name, count in counts.items() for i in range(count)]
    return [case for _, case in sorted(cases)]


def lead(cases, options):
    """Feed the child, print progress and failures; 1 if there are any."""
    began, done, failed, at = time.monotonic(), Counter(), {}, 0
    out = Path(options.out).resolve()
    seconds = Counter()
    while at < len(cases):
        child, since = _start(options), time.monotonic()
        try:
            while at < len(cases):
                name, since = cases[at], time.monotonic()
                child.stdin.write(name + "\n")
                child.stdin.flush()
                line = _line(child)
                at += 1
                kind = name.partition(":")[0]
                done[kind] += 1
                seconds[kind] += time.monotonic() - since
                if line is None:
                    _told(failed, name, [f"{kind}: {_end(child)}"], options)
                    break
                wrong = json.loads(line)
                if wrong:
                    _told(failed, name, wrong, options)
                if at % 250 == 0:
                    print(f"{at} of {len(cases)}, {len(failed)} failed, {time.monotonic() - began:.0f} s", flush=True)
        finally:
            child.kill()
            child.wait()
    print(f"\n{done.total()} inputs with seed {options.seed} in {time.monotonic() - began:.0f} s; {len(failed)} failed")
    for kind, count in sorted(done.items()):
        bad = sum(name.startswith(f"{kind}:") for name in failed)
        print(f"  {kind:<11}{count:>6} inputs {seconds[kind]:>7.0f} s  {bad:>4} failed")
    kinds = Counter(_kind_of(line) for wrong in failed.values() for line in wrong)
    for line, count in kinds.most_common():
        print(f"{count:>5}  {line}")
    if failed:
        print(f"kept in {out}; again: python -m tests.fuzz --case KIND:NUMBER --seed {options.seed}")
    return 1 if failed else 0


def _kind_of(line):
    return " ".join(line.split(": ")[:2])[:150]


def _told(failed, name, wrong, options):
    failed[name] = wrong
    print(f"{name} (seed {options.seed}): " + "\n    ".join(line[:600] for line in wrong), flush=True)


def _start(options):
    words = [sys.executable, "-m", "tests.fuzz", "--child", "--seed", str(options.seed), "--out", options.out]
    words += ["--case", options.case] if options.case else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "IMBDET_TRUST": "tests", "MPLBACKEND": "Agg"}
    Path(options.out).mkdir(parents=True, exist_ok=True)
    with open(Path(options.out) / "child.log", "a") as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        return subprocess.Popen(words, **pipes, text=True, env=environment)


def _end(child):
    try:
        code = child.wait(5)
    except subprocess.TimeoutExpired:
        return f"hangs for {SILENT:.0f} s"
    return f"the process ended with code {code}; its last words are in child.log"


def _line(child):
    import select

    ready, _, _ = select.select([child.stdout], [], [], SILENT)
    return (child.stdout.readline() or None) if ready else None


def run_case(name, seed, folder):
    """Write an input into the empty `folder`, run it, and return what is wrong."""
    from .guard import run_input
    from .inputs import KINDS

    kind, _, number = name.partition(":")
    rng = random.Random(f"{seed}:{kind}:{number}")
    return run_input(KINDS[kind][2](rng, folder), folder)


def _child(options):
    import resource

    import torch

    from imbdet.engine.environment import describe_environment

    torch.set_num_threads(1)
    describe_environment(torch.device("cpu"), 0, {})  # asks git and uname once, which is no deed of the first input
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")  # whatever is printed besides goes to stderr
    os.dup2(2, 1)
    for line in sys.stdin:
        name = line.strip()
        folder = Path(tempfile.mkdtemp(prefix="imbdet-fuzz-"))
        wrong = run_case(name, options.seed, folder)
        if wrong or options.case:
            kept = Path(options.out) / name.replace(":", "-")
            shutil.rmtree(kept, ignore_errors=True)
            _keep(folder, kept, wrong)
            if options.case:
                print(f"the input is in {kept}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        answers.write(json.dumps(wrong) + "\n")
        answers.flush()
    from .samples import tiny

    shutil.rmtree(tiny(), ignore_errors=True)
    return 0


def _keep(folder, kept, wrong):
    def special(root, names):
        return [name for name in names if not os.path.isdir(p := os.path.join(root, name)) and not os.path.isfile(p)]

    shutil.copytree(folder, kept, ignore=special, symlinks=True)
    (kept / "wrong.txt").write_text("\n".join(wrong) + "\n", encoding="utf-8", errors="replace")


if __name__ == "__main__":
    sys.exit(main())
