"""What the inputs start from, whole: a small data set, a config, and runs that are trained once."""

import functools
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from imbdet.config import load_config, save_config
from imbdet.engine import train
from tests.compare.conftest import WORDS
from tests.engine.fakes import fake_config
from tests.evaluation.cases import write_run

from .guard import SECRET

SIZE = (32, 24)
SPLITS = {"train": 3, "val": 2}


@functools.cache
def picture(format="PNG", mode="RGB", seed=0):
    """The bytes of a small picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    image, file = Image.fromarray(noise), io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
    elif mode == "F":
        image = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    image.save(file, format)
    return file.getvalue()


def draw_pictures(folder, flat=False):
    """images/train/0.png and so on (or all in images/), and what must not be opened: a secret beside them, a link, a
    pipe, a folder.
    """
    (folder / SECRET).write_bytes(picture())
    for split, count in SPLITS.items():
        place = folder / "data" / "images" / ("" if flat else split)
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (place / f"{split}{i}.png").write_bytes(picture(seed=i + 10 * (split == "val")))
    os.symlink("/dev/zero", place / "link.png")
    os.mkfifo(place / "pipe.png")
    return folder / "data"


@functools.cache
def coco_document(split):
    box, corners = [4, 3, 10, 8], [4, 3, 14, 3, 14, 11, 4, 11]
    shapes = ([corners], {"size": [24, 32], "counts": [99, 8, 661]}, [], None, [corners], [corners])
    images = [
        {"id": i + 1, "file_name": f"{split}{i}.png", "width": SIZE[0], "height": SIZE[1], "license": 1}
        for i in range(SPLITS[split])
    ]
    annotations = [
        {
            "id": k + 1,
            "image_id": k % len(images) + 1,
            "category_id": (1, 3)[k % 2],
            "bbox": [value + k for value in box] if k != 4 else None,
            "area": 80.0,
            "iscrowd": int(k == 5),
            "segmentation": shapes[k],
        }
        for k in range(6)
    ]
    annotations[4].pop("bbox")
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 3, "name": "dog"}]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


@functools.cache
def tiny():
    """A folder with tiny.yaml, a whole config of a small detector, and what takes long to make."""
    return Path(tempfile.mkdtemp(prefix="imbdet-fuzz-"))


@functools.cache
def tiny_config():
    save_config(load_config("baselines/retinanet_shapes", (), WORDS), tiny() / "tiny.yaml")
    return OmegaConf.to_container(load_config(tiny() / "tiny.yaml"), resolve=False)


@functools.cache
def guess_run():
    """A run of a detector of one weight, with a small data set, whose checkpoint holds what a real one does."""
    root = tiny() / "guess"
    data = draw_pictures(root) if not root.mkdir(parents=True) else None
    for split in SPLITS:
        (data / f"instances_{split}.json").write_text(json.dumps(coco_document(split)))
    write_run(root / "run", data)
    state = torch.load(root / "run" / "best.pth", weights_only=True)
    config = json.loads((root / "run" / "config.yaml").read_text())
    config["model"].pop("label")  # which the detector of these tests takes as it is
    (root / "run" / "config.yaml").write_text(json.dumps(config))
    known = {"class_names": ["cat", "dog"], "category_ids": [1, 3], "boxes": [3, 3], "images": [3, 3], "num_images": 3}
    known |= {"name": "train", "source": "train.json", "data_fingerprint": "0" * 16, "num_classes": 2}
    known["preprocessing"] = {"resize": config["dataloader"]["val"]["resize"], "mean": [0.0], "sizes": {"a": 1}}
    torch.save({**state, "config": config, "trained_on": known}, root / "run" / "best.pth")
    (root / "run" / "trained_on.json").write_text(json.dumps(known))
    return root


@functools.cache
def fake_run():
    train(fake_config(tiny() / "fake", "train.max_iter=4"))
    return tiny() / "fake"


@functools.cache
def grid():
    """Two trained runs, and their comparison."""
    tiny_config()
    root = tiny() / "grid"
    for name, remedies in (("base", ()), ("focal", ("focal_loss",))):
        words = (f"train.output_dir={root / name}", "train.max_iter=5", "train.log_period=1")
        train(load_config(tiny() / "tiny.yaml", remedies, words))
    from imbdet.commands import run

    run("compare", ["--runs", str(root / "base"), str(root / "focal"), "--out", str(root / "both")])
    return root
