"""What was found in pictures, in the forms that other tools read: COCO results, YOLO, FiftyOne, Label Studio.

The source is predictions.json, a COCO-like document: `images`, `annotations` with `score`, `categories`.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..write import write_json, write_whole


def save_predictions(document: dict[str, Any], folder: Path, forms: Sequence[str]) -> list[Path]:
    """Write `document` in each form of `FORMS` into `folder`; returns what was written."""
    found: dict[int, list[dict]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        found[annotation["image_id"]].append(annotation)
    rows = [(image, found[image["id"]]) for image in document["images"]]
    return [FORMS[form](rows, document["categories"], folder) for form in forms]


def _coco(rows: list, categories: list, folder: Path) -> Path:
    """COCO's results list; the image ids are those of predictions.json."""
    keys = ("image_id", "category_id", "bbox", "score")
    path = folder / "coco_results.json"
    write_json(path, [{key: one[key] for key in keys} for _, found in rows for one in found])
    return path


def _yolo(rows: list, categories: list, folder: Path) -> Path:
    """labels/NAME.txt, a line an object: label, center x, center y, width, height as shares of the picture, score."""
    labels, place = folder / "labels", {one["id"]: i for i, one in enumerate(categories)}
    labels.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "classes.txt", "".join(f"{one['name']}\n" for one in categories))
    for image, found in rows:
        lines = []
        for one in found:
            x, y, w, h = shares(one["bbox"], image)
            numbers = (x + w / 2, y + h / 2, w, h, one["score"])
            lines.append(" ".join([str(place[one["category_id"]]), *(f"{number:.6f}" for number in numbers)]))
        file, _, frame = image["drawn"].partition("#")  # a frame of a video: NAME_12.txt
        name = Path(file).stem + (f"_{frame}" if frame else "")
        write_whole(labels / f"{name}.txt", "".join(line + "\n" for line in lines))
    return labels


def _fiftyone(rows: list, categories: list, folder: Path) -> Path:
    """FiftyOne's FiftyOneImageDetectionDataset: its labels file; the pictures stay where they are.

    Its reader knows a picture by the path below its data folder without the extension: here below the folder that all
    pictures share. It has no frames of videos, and cannot tell a.jpg from a.png.
    """
    rows = [(image, found) for image, found in rows if not re.search(r"#\d+$", image["drawn"])]
    files = [os.path.abspath(image["file_name"]) for image, _ in rows]
    top = os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
    labels = {}
    for file, (image, found) in zip(files, rows, strict=True):
        labels[Path(os.path.splitext(os.path.relpath(file, top))[0]).as_posix()] = [
            {"label": one["category_name"], "bounding_box": shares(one["bbox"], image), "confidence": one["score"]}
            for one in found
        ]
    path = folder / "fiftyone_labels.json"
    write_json(path, {"classes": [one["name"] for one in categories], "labels": labels})
    return path


def _label_studio(rows: list, categories: list, folder: Path) -> Path:
    """Label Studio's tasks with pre-annotations, for a labeling config with <Image name="image"> and <RectangleLabels
    name="label">.
    """
    tasks = []
    for image, found in rows:
        result = []
        for one in found:
            x, y, w, h = (100 * share for share in shares(one["bbox"], image))
            value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [one["category_name"]]}
            names = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "id": str(one["id"])}
            size = {"original_width": image["width"], "original_height": image["height"], "image_rotation": 0}
            result.append({**names, **size, "value": value, "score": one["score"]})
        best = max((one["score"] for one in found), default=0.0)
        prediction = {"model_version": "imbdet", "score": best, "result": result}
        tasks.append({"data": {"image": image["file_name"]}, "predictions": [prediction]})
    path = folder / "label_studio.json"
    write_json(path, tasks)
    return path


def shares(box: Sequence[float], image: dict[str, Any]) -> list[float]:
    """Convert left, top, width, height in pixels -> in shares of the picture, 0 to 1."""
    width, height = image["width"], image["height"]
    return [box[0] / width, box[1] / height, box[2] / width, box[3] / height]


#: name -> how it is written
FORMS: dict[str, Callable[[list, list, Path], Path]] = {
    "coco": _coco,
    "yolo": _yolo,
    "fiftyone": _fiftyone,
    "label_studio": _label_studio,
}
