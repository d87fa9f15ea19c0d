"""Part `train`: the whole loop, from the loader to result.json, on the device; then the run is resumed."""

import json
import math
import tempfile
from pathlib import Path

import torch

from .cases import CONFIGS, run_config
from .child import figures

SAME_AP = 1e-3  #: of one set of weights twice: sums on a GPU are not in a fixed order


def units(small: bool) -> list[str]:
    return CONFIGS


def run(unit: str, device: str, small: bool) -> dict:
    from imbdet.engine.loop import train

    with tempfile.TemporaryDirectory() as folder:
        cfg = run_config(unit, small, device, folder)
        result = train(cfg)
        written = Path(cfg.train.output_dir)
        lines = [json.loads(line) for line in (written / "metrics.jsonl").read_text().splitlines()]
        losses = [line["loss/total"] for line in lines if line["split"] == "train"]
        weights = torch.load(written / "last.pth", weights_only=True)["model"].values()
        again = train(cfg, resume=True) if unit.startswith("baselines/") else result
    short = []
    if len(losses) != 3 or not all(math.isfinite(x) for x in losses):
        short.append(f"losses of three steps: {losses}")
    if not all(bool(torch.isfinite(w).all()) for w in weights if w.is_floating_point()):
        short.append("weights that are not finite")
    if "AP" not in result["metrics"]:
        short.append("no AP")
    if abs(again["metrics"]["AP"] - result["metrics"]["AP"]) > SAME_AP:
        short.append(f"AP {result['metrics']['AP']:.6g}, after resuming {again['metrics']['AP']:.6g}")
    return figures(first=losses[0], last=losses[-1], AP=result["metrics"].get("AP"), short=short)
