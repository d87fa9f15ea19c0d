"""Inputs that are data: annotations in each format, results, pictures."""

import json
import os

from imbdet.data.checks import check_before_training
from imbdet.data.datasets.folder import folder_records
from tests.evaluation.cases import perfect, truth

from .guard import SECRET, Step
from .mutations import NUMBERS, as_json, changed, mutilate, reword
from .samples import SPLITS, coco_document, draw_pictures, guess_run, picture


def load(root):
    """What training does before its first step, and all pictures."""

    def load_all():
        train_data, val = (folder_records(str(root), split) for split in ("train", "val"))
        check_before_training(train_data, val)
        for records in (train_data, val):
            for i in range(len(records)):
                records.images[i]

    return Step(function=load_all, agrees=True)


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


def results(rng, folder):
    document = truth()
    files = {"gt.json": document, "results.json": perfect(document), "train.json": truth(boxes=6)}
    hurt = rng.choice(("gt.json", "results.json", "results.json", "train.json"))
    for name, content in files.items():
        text = as_json(rng, changed(rng, content)) if name == hurt else json.dumps(content).encode()
        (folder / name).write_bytes(text)
    more = ["--train-annotations", "train.json"] if hurt == "train.json" or rng.random() < 0.3 else []
    return [Step(["evaluate", "--annotations", "gt.json", "--results", "results.json", *more])]


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
