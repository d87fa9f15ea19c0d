"""Inputs that are runs: configs, overrides, checkpoints, comparisons."""

import json
import shutil

import torch

from imbdet.compare.plan import make_plan
from imbdet.compare.results import read_plan, read_results
from imbdet.compare.structures import Request
from imbdet.config import instantiate, load_config
from imbdet.config.keys import walk
from imbdet.engine import train
from imbdet.runs import CONFIG, DETECTIONS, ENVIRONMENT, METRICS, RESULT, TRAINED_ON
from tests.engine.fakes import fake_config

from .guard import Step
from .mutations import as_json, changed, mutilate, strange
from .samples import fake_run, grid, guess_run, tiny, tiny_config


def build(path, part):
    def build_part():
        instantiate(load_config(path)[part])

    return Step(function=build_part)


def config(rng, folder):
    content, file = changed(rng, tiny_config()), folder / "config.yaml"
    raw = as_json(rng, content) if rng.random() < 0.85 else mutilate(rng, (tiny() / "tiny.yaml").read_bytes())
    file.write_bytes(raw)
    steps = [Step(["show_config", "--config", file])]
    if rng.random() < 0.15:
        steps.append(build(file, rng.choice(("model", "optimizer", "lr_multiplier"))))
    if rng.random() < 0.1:
        steps.append(Step(["train", "--config", file, "--print", "train.max_iter=3"]))
    return steps


def override(rng, folder):
    tiny_config()
    name = f"baselines/{rng.choice(('retinanet_shapes', 'faster_rcnn_shapes', 'retinanet_lite0_custom'))}"
    keys = [key for key, _ in walk(load_config(name))]
    key = rng.choice(keys)
    if rng.random() < 0.15:
        others = (f"{key}.x", key[:-1], f"{key}.0", f"{key}.", f".{key}", f"{key}._target_")
        key = rng.choice((*others, key.replace(".", "..", 1)))
    value = strange(rng)
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    steps = [Step(["show_config", "--config", name, f"{key}={text}"])]
    if rng.random() < 0.2:
        steps[0].argv += ["--remedy", rng.choice(("focal_loss", "seesaw_loss", "ohem", "loss_scale"))]
    large = isinstance(value, (int, float)) and abs(value) > 10
    if rng.random() < 0.15 and not large and not key.startswith(("train.max_iter", "train.output_dir")):
        words = (f"train.output_dir={folder / 'run'}", "train.max_iter=1", f"{key}={text}")
        steps.append(Step(["train", "--config", tiny() / "tiny.yaml", *words], seconds=120))
    return steps


def checkpoint(rng, folder):
    root = guess_run()
    shutil.copytree(root / "run", folder / "run")
    file = folder / "run" / "best.pth"
    if rng.random() < 0.5:
        file.write_bytes(mutilate(rng, file.read_bytes()))
    else:
        state = changed(rng, torch.load(file, weights_only=True))
        try:
            torch.save(state, file)
        except (RecursionError, ValueError, UnicodeError, OverflowError):  # what no checkpoint can hold
            file.write_bytes(b"PK")
    image = root / "data" / "images" / "val" / "val0.png"
    run = folder / "run" if rng.random() < 0.5 else file
    if rng.random() < 0.6:
        return [Step(["predict", "--run", run, image, "--out", "out"])]
    return [Step(["evaluate", "--run", run])]


def resume(rng, folder):
    """last.pth of a training; last_prev.pth may stand in for it."""
    shutil.copytree(fake_run(), folder / "run")
    for name in ("last.pth", "last_prev.pth")[: rng.choice((1, 2))]:
        file = folder / "run" / name
        if not file.exists():
            continue
        if rng.random() < 0.5:
            file.write_bytes(mutilate(rng, file.read_bytes()))
        else:
            state = torch.load(file, weights_only=True)
            part = rng.choice(sorted(state))
            state[part] = changed(rng, {part: state[part]})
            state[part] = state[part].get(part) if isinstance(state[part], dict) else state[part]
            try:
                torch.save(state, file)
            except (RecursionError, ValueError, UnicodeError, OverflowError):
                file.write_bytes(b"PK")

    def go_on():
        train(fake_config(folder / "run", "train.max_iter=6"), resume=True)

    return [Step(function=go_on)]


def _plan():
    arms = [{"name": "baseline"}, {"name": "focal_loss", "remedies": ["focal_loss"]}]
    return {"config": str(tiny() / "tiny.yaml"), "arms": arms, "seeds": [0], "overrides": [], "budget": "iterations"}


def plan(rng, folder):
    """plan.json, base.yaml and results.jsonl, as the command reads them before it runs anything."""
    tiny_config()
    (folder / "evil.py").write_text("open('sentinel', 'w')\nbaseline = ''\ndef apply(cfg):\n    cfg.train.seed = 9\n")
    content, records = _plan(), [{"arm": "baseline", "seed": 0, "folder": "runs/baseline/seed_0", "status": "failed"}]
    if rng.random() < 0.1:
        content["arms"][1]["remedies"] = [str(folder / "evil.py")]
    hurt = rng.choice(("plan", "plan", "results", "base"))

    def written(value, name):
        return as_json(rng, changed(rng, value)) if hurt == name else json.dumps(value).encode()

    (folder / "plan.json").write_bytes(written(content, "plan"))
    (folder / "results.jsonl").write_bytes(b"".join(written(r, "results") + b"\n" for r in records * 2))
    base = (tiny() / "tiny.yaml").read_bytes()
    (folder / "base.yaml").write_bytes(mutilate(rng, base) if hurt == "base" else base)

    def read():
        read_plan(folder)
        read_results(folder)
        make_plan(Request(str(tiny() / "tiny.yaml"), ("focal_loss",), controls=False), folder)

    return [Step(function=read)]


def runs(rng, folder):
    """A file of one of two runs or of their comparison, and the reports of them."""
    shutil.copytree(grid(), folder / "grid", ignore=shutil.ignore_patterns("last*.pth", "model_*.pth"))
    names = (RESULT, METRICS, ENVIRONMENT, TRAINED_ON, CONFIG, DETECTIONS, "record.json")
    files = [folder / "grid" / "focal" / name for name in names]
    files += [folder / "grid" / "both" / name for name in ("plan.json", "results.jsonl")]
    file = rng.choice([path for path in files if path.exists()])
    raw = file.read_bytes()
    if rng.random() < 0.7 and file.suffix in (".json", ".jsonl"):
        lines = raw.decode().splitlines() if file.suffix == ".jsonl" else [raw.decode()]
        at = rng.randrange(len(lines))
        lines[at] = as_json(rng, changed(rng, json.loads(lines[at]))).decode("utf-8", "replace")
        raw = "\n".join(lines).encode("utf-8", "replace")
    else:
        raw = mutilate(rng, raw)
    file.write_bytes(raw)
    root = folder / "grid"
    if file.parent.name == "both":
        return [Step(["compare", "--runs", root / "both", "--out", "new"], seconds=120)]
    if rng.random() < 0.3:
        return [Step(["diagnose", "--run", root / "focal", "--out", "diagnosis"], seconds=120)]
    return [Step(["compare", "--runs", root / "base", root / "focal", "--out", "new"], seconds=120)]
