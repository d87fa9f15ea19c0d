"""The kinds of inputs: each writes one into a folder and returns the steps that are run on it.

KINDS: {name: (share of all inputs, whether it is cheap, function(rng, folder) -> steps)}.
"""

import functools
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from imbdet.compare.plan import make_plan
from imbdet.compare.results import read_plan, read_results
from imbdet.compare.structures import Request
from imbdet.config import instantiate, load_config, save_config
from imbdet.config.keys import walk
from imbdet.data.checks import check_before_training
from imbdet.data.datasets.folder import folder_records
from imbdet.engine import train
from imbdet.runs import CONFIG, DETECTIONS, ENVIRONMENT, METRICS, RESULT, TRAINED_ON
from tests.compare.conftest import WORDS
from tests.engine.fakes import fake_config
from tests.evaluation.cases import perfect, truth, write_run

from .guard import SECRET, Step
from .mutations import NUMBERS, as_json, changed, mutilate, reword, strange

KINDS = {}
SIZE = (32, 24)
SPLITS = {"train": 3, "val": 2}


def kind(name, share, cheap=True):
    def add(function):
        KINDS[name] = (share, cheap, function)
        return function

    return add


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


def load(root):
    """What training does before its first step, and all pictures."""

    def load_all():
        train_data, val = (folder_records(str(root), split) for split in ("train", "val"))
        check_before_training(train_data, val)
        for records in (train_data, val):
            for i in range(len(records)):
                records.images[i]

    return Step(function=load_all, agrees=True)


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


@kind("coco", 24)
def coco(rng, folder):
    data, hurt = draw_pictures(folder), rng.choice(("train", "train", "val"))
    (data / "annotations").mkdir()
    for split in SPLITS:
        document = coco_document(split)
        text = as_json(rng, changed(rng, document)) if split == hurt else json.dumps(document).encode()
        (data / "annotations" / f"instances_{split}.json").write_bytes(text)
    file = data / "annotations" / f"instances_{hurt}.json"
    steps = [Step(["check_data", data]), load(data)]
    if rng.random() < 0.35:
        steps.append(Step(["check_data", file, "--fix", "fixed.json", *(["--drop"] if rng.random() < 0.5 else [])]))
    if rng.random() < 0.1:
        steps.append(Step(["diagnose", data, "--out", "diagnosis"]))
    return steps


@kind("results", 12)
def results(rng, folder):
    document = truth()
    files = {"gt.json": document, "results.json": perfect(document), "train.json": truth(boxes=6)}
    hurt = rng.choice(("gt.json", "results.json", "results.json", "train.json"))
    for name, content in files.items():
        text = as_json(rng, changed(rng, content)) if name == hurt else json.dumps(content).encode()
        (folder / name).write_bytes(text)
    more = ["--train-annotations", "train.json"] if hurt == "train.json" or rng.random() < 0.3 else []
    return [Step(["evaluate", "--annotations", "gt.json", "--results", "results.json", *more])]


@kind("yolo", 16)
def yolo(rng, folder):
    """Ultralytics' layout (names as list or dict, split lists or folders), classes.txt, Darknet's."""
    data = draw_pictures(folder)
    (folder / SECRET).unlink()  # a data.yaml may name any folder of pictures, that above it too
    layout = rng.choice(("list", "dict", "lists", "classes", "darknet"))
    labels = {}
    for split, count in SPLITS.items():
        for i in range(count):
            lines = ["0 0.5 0.5 0.25 0.5", "1 0.3 0.4 0.2 0.2", "1 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4"][: i + 1]
            labels[f"labels/{split}/{split}{i}.txt"] = "\n".join(lines) + "\n"
    splits = {split: f"images/{split}" for split in SPLITS}
    if layout in ("lists", "darknet"):
        splits = {split: f"{split}.txt" for split in SPLITS}
        for split, count in SPLITS.items():
            labels[f"{split}.txt"] = "".join(f"images/{split}/{split}{i}.png\n" for i in range(count))
    names = {0: "cat", 1: "dog"} if layout == "dict" else ["cat", "dog"]
    content = {"path": ".", **splits, "nc": 2, "names": names, "kpt_shape": [17, 3] if rng.random() < 0.1 else None}
    content = {key: value for key, value in content.items() if value is not None}
    if layout == "classes":
        labels["classes.txt"] = "cat\ndog\n"
    elif layout == "darknet":
        labels["obj.names"] = "cat\ndog\n"
        labels["obj.data"] = "classes = 2\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\nbackup = backup/\n"
    else:
        labels["data.yaml"] = json.dumps(changed(rng, content) if rng.random() < 0.5 else content)
        if isinstance(names, dict):
            labels["data.yaml"] = labels["data.yaml"].replace('"0": ', "0: ").replace('"1": ', "1: ")
    hurt = rng.choice(sorted(labels))
    for name, text in labels.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        raw = text.encode("utf-8", "surrogatepass")
        if name == hurt:
            raw = reword(rng, text).encode("utf-8", "surrogatepass") if rng.random() < 0.7 else mutilate(rng, raw)
        (data / name).write_bytes(raw)
    return [Step(["check_data", data]), load(data)]


_XML = """<?xml version="1.0"?>
<annotation>
 <folder>VOC</folder> <filename>{name}.png</filename> <path>/home/me/{name}.png</path>
 <size> <width>32</width> <height>24</height> <depth>3</depth> </size>
 <segmented>0</segmented>
 <object> <name>{cls}</name> <difficult>0</difficult> <truncated>1</truncated>
  <bndbox> <xmin>4</xmin> <ymin>3</ymin> <xmax>14</xmax> <ymax>11</ymax> </bndbox> </object>
 <object> <name>dog</name> <difficult>1</difficult>
  <bndbox> <xmin>6.5</xmin> <ymin>2</ymin> <xmax>30</xmax> <ymax>20</ymax> </bndbox> </object>
</annotation>
"""
_BOMB = '<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx">{}<!ENTITY f SYSTEM "file:///dev/zero">]>'.format(
    "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=False))
)


@kind("voc", 12)
def voc(rng, folder):
    data = draw_pictures(folder, flat=True)
    os.rename(data / "images", data / "JPEGImages")
    files = {}
    for split, count in SPLITS.items():
        files[f"ImageSets/Main/{split}.txt"] = "".join(f"{split}{i}\n" for i in range(count))
        for i in range(count):
            files[f"Annotations/{split}{i}.xml"] = _XML.format(name=f"{split}{i}", cls=("cat", "dog")[i % 2])
    hurt = rng.choice(sorted(files))
    for name, text in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        raw = text.encode()
        if name == hurt:
            change = rng.random()
            if change < 0.05:
                raw = text.replace("<annotation>", f"{_BOMB}<annotation>").encode()
                raw = raw.replace(b"dog", rng.choice((b"&j;", b"&f;")))
            elif change < 0.7:
                raw = _reword_xml(rng, text).encode("utf-8", "surrogatepass")
            else:
                raw = mutilate(rng, raw)
        (data / name).write_bytes(raw)
    return [Step(["check_data", data]), load(data)]


def _reword_xml(rng, text):
    parts = text.replace("><", "> <").replace(">", "> ").replace("</", " </")
    return reword(rng, parts)


@functools.cache
def tiny():
    """A folder with tiny.yaml, a whole config of a small detector, and what takes long to make."""
    return Path(tempfile.mkdtemp(prefix="imbdet-fuzz-"))


@functools.cache
def tiny_config():
    save_config(load_config("baselines/retinanet_shapes", (), WORDS), tiny() / "tiny.yaml")
    return OmegaConf.to_container(load_config(tiny() / "tiny.yaml"), resolve=False)


def build(path, part):
    def build_part():
        instantiate(load_config(path)[part])

    return Step(function=build_part)


@kind("config", 12)
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


@kind("override", 12)
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


@kind("checkpoint", 10)
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


@functools.cache
def fake_run():
    train(fake_config(tiny() / "fake", "train.max_iter=4"))
    return tiny() / "fake"


@kind("resume", 4)
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


@kind("pictures", 8)
def pictures(rng, folder):
    data = draw_pictures(folder)
    for split in SPLITS:
        (data / f"instances_{split}.json").write_text(json.dumps(coco_document(split)))
    format, mode = rng.choice(
        (("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "1"), ("PNG", "I;16"), ("PNG", "LA"))
        + (("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("TIFF", "RGB"), ("TIFF", "I;16"), ("TIFF", "F"))
        + (("TIFF", "CMYK"), ("BMP", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("PPM", "RGB"), ("TGA", "RGB"))
    )
    raw = picture(format, mode)
    if rng.random() < 0.8:
        raw = mutilate(rng, raw)
    if rng.random() < 0.1:
        number = rng.choice(NUMBERS[:8])
        raw = raw[:16] + int(abs(number) % 2**32).to_bytes(4, "big") * 2 + raw[24:]
    file = data / "images" / "train" / "train1.png"
    file.write_bytes(raw)
    if rng.random() < 0.3:
        return [Step(["predict", "--run", guess_run() / "run", file, "--out", "out"])]
    return [Step(["check_data", data]), load(data)]


def _plan():
    arms = [{"name": "baseline"}, {"name": "focal_loss", "remedies": ["focal_loss"]}]
    return {"config": str(tiny() / "tiny.yaml"), "arms": arms, "seeds": [0], "overrides": [], "budget": "iterations"}


@kind("plan", 4)
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


@kind("runs", 2, cheap=False)
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
