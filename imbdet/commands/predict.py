"""Draw what a detector finds in pictures, and write it as JSON."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..write import write_json
from . import add_remedy_arguments, add_run_arguments, add_tiles_argument, config_from, is_override, make_parser, parse

EXAMPLE = """
imbdet predict --run output/faster_rcnn_shapes photo.jpg folder/ "more/*.png" clip.mp4 --threshold 0.3 --save yolo
"""
FORMS = ("coco", "yolo", "fiftyone", "label_studio")


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all pictures could be read, 1 if some could not (they are named, the others are done)."""
    parser = make_parser("predict", "Draw what a detector finds in pictures, and write it as JSON.", EXAMPLE)
    add_run_arguments(parser)
    parser.add_argument("--config", "--config-file", metavar="C", help="with --checkpoint: a config instead of a run")
    parser.add_argument("--checkpoint", metavar="W", help="weights for --config")
    add_remedy_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="where to write (default: predictions/ in the run, or in output/)")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="lowest score (default: 0.5)")
    add_tiles_argument(parser)
    parser.add_argument("--save", action="append", default=[], choices=FORMS, help="one more form; may be repeated")
    parser.add_argument("words", nargs="+", metavar="IMAGE", help="pictures, videos, folders, globs; key=value")
    args = parse(parser, argv)
    _check(parser, args)

    from ..evaluation.pictures import find_pictures
    from ..evaluation.video import is_video

    args.overrides = [word for word in args.words if is_override(word)]
    paths, problems = find_pictures([word for word in args.words if not is_override(word)])
    args.videos, paths = [path for path in paths if is_video(path)], [path for path in paths if not is_video(path)]
    if not paths and not args.videos:
        raise ValueError("no picture to look at. " + "; ".join(problems or ["name files, folders or globs"]))
    for problem in problems:
        _complain(problem)
    run = Path(args.run) if args.run else None
    folder = "output" if run is None else run.parent if run.is_file() else run
    out = Path(args.out or Path(folder) / "predictions")
    unreadable, found = _predict(args, paths, out)
    looked = f"{len(paths) + len(args.videos) - unreadable} {'pictures and videos' if args.videos else 'pictures'}"
    print(f"{found} objects of score >= {args.threshold:g} in {looked}, drawn into {out}")
    return 1 if problems or unreadable else 0


def _predict(args: argparse.Namespace, paths: list[Path], out: Path) -> tuple[int, int]:
    """Write a picture per path and predictions.json; returns the numbers of unreadable pictures and of objects."""
    from PIL import Image
    from tqdm import tqdm

    from ..data.images import decode
    from ..data.tiles import Tiles
    from ..engine.trained import load_predictor, load_run
    from ..evaluation.pictures import draw
    from ..evaluation.predictions import save_predictions

    if args.run:
        detector = load_run(args.run, args.which, None, args.remedy, args.overrides)
    else:
        detector = load_predictor(config_from(args), args.checkpoint)
    if args.tiles:
        detector.tiles = Tiles(args.tiles)
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": i, "name": name} for i, name in zip(detector.category_ids, detector.class_names, strict=True)
        ],
        "threshold": args.threshold,
    }
    taken: set[str] = set()
    unreadable = 0
    for path in tqdm(paths, desc="predict", unit="picture", leave=False, disable=None):
        try:
            image = decode(str(path))
        except (OSError, ValueError) as error:
            _complain(str(error))
            unreadable += 1
            continue
        found = detector.predict(image, args.threshold)
        name = _free_name(path.stem, taken)
        drawn = draw(image, found, detector.class_names)
        Image.fromarray(drawn.permute(1, 2, 0).numpy()).save(out / name, quality=92)
        _add(document, path, name, image, found, detector)
    for path in args.videos:
        try:
            _video(document, path, out / f"{Path(_free_name(path.stem, taken)).stem}.mp4", detector, args.threshold)
        except ValueError as error:
            _complain(str(error))
            unreadable += 1
    write_json(out / "predictions.json", document)
    save_predictions(document, out, args.save)
    return unreadable, len(document["annotations"])


def _video(document: dict, path: Path, out: Path, detector: Any, threshold: float) -> None:
    """Each frame as a picture named `FILE#frame`, drawn into an .mp4."""
    from tqdm import tqdm

    from ..evaluation.pictures import draw
    from ..evaluation.video import VideoWriter, read_frames

    rate, count, frames = read_frames(path)
    with VideoWriter(out, rate) as writer:
        for i, frame in enumerate(tqdm(frames, path.name, count or None, leave=False, unit="frame", disable=None)):
            found = detector.predict(frame, threshold)
            writer.add(draw(frame, found, detector.class_names))
            _add(document, Path(f"{path}#{i}"), f"{out.name}#{i}", frame, found, detector)


def _add(document: dict, path: Path, drawn: str, image: Any, found: dict, detector: Any) -> None:
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
                "category_id": detector.category_ids[label],
                "category_name": detector.class_names[label],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "score": score,
            }
        )


def _free_name(stem: str, taken: set[str]) -> str:
    """stem.jpg, or stem_2.jpg ... where pictures of several folders share a name."""
    name, number = f"{stem}.jpg", 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}.jpg"
    taken.add(name)
    return name


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
