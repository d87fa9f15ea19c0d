"""Draw what a detector finds in pictures, and write it as JSON."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import add_trust_argument, config_from, make_parser, parse

EXAMPLE = """
imbdet predict --run output/faster_rcnn_shapes photo.jpg folder/ "more/*.png" --threshold 0.3
"""


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all pictures could be read, 1 if some could not (they are named, the others are done)."""
    parser = make_parser("predict", "Draw what a detector finds in pictures, and write it as JSON.", EXAMPLE)
    parser.add_argument("--run", metavar="DIR", help="a folder that training wrote: its config and its best weights")
    parser.add_argument("--which", choices=("best", "last"), help="which weights of the run (best, if it has them)")
    parser.add_argument("--config", "--config-file", metavar="C", help="with --checkpoint: a config instead of a run")
    parser.add_argument("--checkpoint", metavar="W", help="weights for --config")
    parser.add_argument("--remedy", action="append", default=[], metavar="NAME", help="put a remedy on the config")
    add_trust_argument(parser)
    parser.add_argument("--out", metavar="DIR", help="where to write (default: predictions/ in the run, or in output/)")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="lowest score (default: 0.5)")
    parser.add_argument("words", nargs="+", metavar="IMAGE", help="pictures, folders, globs; key=value for the config")
    args = parse(parser, argv)
    _check(parser, args)

    from ..evaluation.pictures import find_pictures

    args.overrides = [word for word in args.words if _is_override(word)]
    paths, problems = find_pictures([word for word in args.words if not _is_override(word)])
    if not paths:
        raise ValueError("no picture to look at. " + "; ".join(problems or ["name files, folders or globs"]))
    for problem in problems:
        _complain(problem)
    out = Path(args.out or (Path(args.run) / "predictions" if args.run else "output/predictions"))
    out.mkdir(parents=True, exist_ok=True)
    unreadable, found = _predict(args, paths, out)
    print(f"{found} objects of score >= {args.threshold:g} in {len(paths) - unreadable} pictures, drawn into {out}")
    return 1 if problems or unreadable else 0


def _predict(args: argparse.Namespace, paths: list[Path], out: Path) -> tuple[int, int]:
    """Write a picture per path and predictions.json; returns the numbers of unreadable pictures and of objects."""
    from PIL import Image

    from ..config import instantiate
    from ..data.images import decode
    from ..engine.distributed import pick_device
    from ..evaluation.pictures import draw, predict_picture
    from ..evaluation.run import checkpoint_of, load_model

    if args.run:
        args.config, args.checkpoint = args.run, checkpoint_of(args.run, args.which)
    cfg = config_from(args)
    model = load_model(cfg, args.checkpoint, pick_device(str(cfg.train.device)))
    records = instantiate(cfg.data.train)
    resize = _resize(cfg)
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": int(i), "name": name} for i, name in zip(records.category_ids, records.class_names, strict=True)
        ],
        "threshold": args.threshold,
    }
    taken: set[str] = set()
    unreadable = 0
    for path in paths:
        try:
            image = decode(str(path))
        except (OSError, ValueError) as error:
            _complain(str(error))
            unreadable += 1
            continue
        found = predict_picture(model, image, resize, args.threshold)
        name = _free_name(path.stem, taken)
        drawn = draw(image, found, records.class_names)
        Image.fromarray(drawn.permute(1, 2, 0).numpy()).save(out / name, quality=92)
        _add(document, path, name, image, found, records)
    (out / "predictions.json").write_text(json.dumps(document, indent=1))
    return unreadable, len(document["annotations"])


def _add(document: dict, path: Path, drawn: str, image: Any, found: dict, records: Any) -> None:
    """One picture and its objects into the COCO-like document."""
    image_id = len(document["images"]) + 1
    height, width = image.shape[-2:]
    document["images"].append(
        {"id": image_id, "file_name": str(path), "width": width, "height": height, "drawn": drawn}
    )
    for box, score, label in zip(
        found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True
    ):
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": image_id,
                "category_id": int(records.category_ids[label]),
                "category_name": records.class_names[label],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "score": score,
            }
        )


def _resize(cfg: Any) -> Any:
    """The `resize` of the validation (or test) loader; None if it has none."""
    from ..config import instantiate

    for split in ("val", "test"):
        loader = cfg.dataloader.get(split)
        if loader is not None:
            return instantiate(loader.resize) if loader.get("resize") is not None else None
    return None


def _free_name(stem: str, taken: set[str]) -> str:
    """stem.jpg, or stem_2.jpg ... where pictures of several folders share a name."""
    name, number = f"{stem}.jpg", 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}.jpg"
    taken.add(name)
    return name


def _is_override(word: str) -> bool:
    return re.match(r"[A-Za-z_][\w.]*=", word) is not None and not os.path.exists(word)


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if bool(args.run) == bool(args.config):
        parser.error("give one of --run DIR, or --config C --checkpoint W")
    if bool(args.config) != bool(args.checkpoint):
        parser.error("--config and --checkpoint go together")
    if args.which and not args.run:
        parser.error("--which has no meaning with --config")
    if not 0 <= args.threshold <= 1:
        parser.error(f"--threshold is {args.threshold}; a score lies in 0..1")


def _complain(message: str) -> None:
    print(f"imbdet predict: warning: {message}", file=sys.stderr)
