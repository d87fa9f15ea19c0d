"""Repair of a COCO file, as far as no person's judgement is needed; every step says what it did.

Notable: the steps go from the outside in (categories, images, annotations), because merging two images makes their
annotations known that would otherwise be dropped. Nothing else in the file is touched: info, licenses, segmentations
and extra keys stay.
"""

from __future__ import annotations

import copy
import math
from collections import Counter

from imbdet.data.checks.annotations import box_of, number, whole
from imbdet.data.checks.boxes import TOLERANCE, guess_convention, polygon_area, wrong_area
from imbdet.data.checks.pictures import PictureSet, boxes_by_image, picture_name, size_can_be_corrected


class CannotFix(ValueError):
    """The file needs a person's decision first."""


def repair(coco: dict, pictures: PictureSet | None = None) -> tuple[dict, list[str]]:
    """A repaired copy of a COCO file.

    Args:
        coco: the file as plain objects.
        pictures: what was found about its pictures, or None if they were not looked at.

    Returns:
        The copy, and what was done, one line for each kind of change.

    Raises:
        CannotFix: a part is missing, the boxes are not in COCO's convention, or most pictures are missing.
    """
    for part in ("images", "annotations", "categories"):
        if not isinstance(coco.get(part), list):
            raise CannotFix(f"$.{part} is not there, or no list: that cannot be made up")
    _refuse_other_convention(coco)
    fixed = {key: value for key, value in coco.items() if key not in ("images", "annotations", "categories")}
    for part in ("images", "annotations", "categories"):  # entries are changed, what is in them is not
        fixed[part] = [copy.copy(entry) for entry in coco[part]]
    done: Counter[str] = Counter()
    _numbers_from_text(fixed, done)
    renamed_categories = _merge_categories(fixed, done)
    renamed_images = _merge_images(fixed, done)
    if pictures is not None:
        _apply_pictures(fixed, pictures, renamed_images, done)
    _repair_annotations(fixed, renamed_categories, renamed_images, done)
    _number_annotations(fixed["annotations"], done)
    return fixed, [f"{count} {what}" for what, count in done.items()]


def _refuse_other_convention(coco: dict) -> None:
    import numpy as np

    sizes = {
        whole(image.get("id")): (number(image.get("width")), number(image.get("height")))
        for image in coco["images"]
        if isinstance(image, dict)
    }
    boxes, owners = [], []
    for annotation in coco["annotations"]:
        box = box_of(annotation) if isinstance(annotation, dict) else None
        if box:
            boxes.append(box)
            owners.append(sizes.get(whole(annotation.get("image_id")), (None, None)))
    if boxes:
        size = np.array(owners, dtype=np.float64)
        convention = guess_convention(np.array(boxes), size[:, 0], size[:, 1])
        if convention:
            raise CannotFix(f"the boxes look like {convention}: convert all of them first")


def _numbers_from_text(coco: dict, done: Counter) -> None:
    """ "12" -> 12 where a number belongs; 640.0 -> 640 in ids."""
    keys = {
        "images": {"id": whole, "width": number, "height": number},
        "annotations": {"id": whole, "image_id": whole, "category_id": whole, "area": number},
        "categories": {"id": whole},
    }
    for part, readers in keys.items():
        for entry in coco[part]:
            for key, read in readers.items() if isinstance(entry, dict) else ():
                value = entry.get(key)
                as_number = read(value) if isinstance(value, (str, float)) else None
                if as_number is not None and type(as_number) is not type(value):
                    entry[key] = as_number
                    done["numbers written as text or with a point made numbers"] += 1


def _merge_categories(coco: dict, done: Counter) -> dict[int, int]:
    """Categories of one name become the first of them; returns {old id: new id}."""
    first, renamed, kept = {}, {}, []
    for category in coco["categories"]:
        name = category.get("name") if isinstance(category, dict) else None
        if isinstance(name, str) and name in first:
            renamed[category.get("id")] = first[name]
            done[f"categories called {name!r} merged into the first of that name"] += 1
            continue
        if isinstance(name, str):
            first[name] = category.get("id")
        kept.append(category)
    coco["categories"] = kept
    return renamed


def _merge_images(coco: dict, done: Counter) -> dict[int, int]:
    """Entries of one picture file become the first of them; returns {old id: new id}."""
    first, renamed, kept = {}, {}, []
    for image in coco["images"]:
        name = picture_name(image)
        if name and name in first:
            if image.get("id") != first[name]:
                renamed[image.get("id")] = first[name]
            done["image entries of the same picture file merged into the first"] += 1
            continue
        if name:
            first[name] = image.get("id")
        kept.append(image)
    coco["images"] = kept
    return renamed


def _apply_pictures(coco: dict, pictures: PictureSet, renamed: dict[int, int], done: Counter) -> None:
    """Sizes from the pictures where that is safe; images without a readable picture dropped."""
    gone = [p for p in pictures.pictures.values() if p.status in ("missing", "unreadable")]
    if len(gone) > len(pictures.pictures) / 2:
        raise CannotFix(
            f"{len(gone)} of {len(pictures.pictures)} pictures are not readable in {pictures.folder}: is it the right "
            "folder (--images DIR)?"
        )
    boxes = boxes_by_image(coco)
    for old, new in renamed.items():
        boxes[new] = boxes.get(new, []) + boxes.get(old, [])
    kept = []
    for image in coco["images"]:
        picture = pictures.pictures.get(picture_name(image))
        if picture and picture.status in ("missing", "unreadable"):
            done["images without a readable picture dropped"] += 1
            continue
        kept.append(image)
        if picture and picture.size and picture.size != picture.said:
            if size_can_be_corrected(picture, boxes.get(whole(image.get("id")), [])):
                image["width"], image["height"] = picture.size
                done["image sizes taken from the picture"] += 1
    coco["images"] = kept


def _repair_annotations(coco: dict, categories: dict, images: dict, done: Counter) -> None:
    sizes = {image.get("id"): image for image in coco["images"] if isinstance(image, dict)}
    known = {category.get("id") for category in coco["categories"] if isinstance(category, dict)}
    seen, kept = set(), []
    for annotation in coco["annotations"]:
        if not isinstance(annotation, dict):
            done["annotations that are no objects dropped"] += 1
            continue
        for key, renamed in (("category_id", categories), ("image_id", images)):
            if _hashable(annotation.get(key)) in renamed:
                annotation[key] = renamed[annotation[key]]
        image = sizes.get(_hashable(annotation.get("image_id")))
        reason = None
        if image is None:
            reason = "annotations of images that are not there dropped"
        elif _hashable(annotation.get("category_id")) not in known:
            reason = "annotations of unknown categories dropped"
        else:
            reason = _repair_box(annotation, image, done)
        key = (annotation.get("image_id"), annotation.get("category_id"), *(annotation.get("bbox") or ()))
        if reason is None and not annotation.get("iscrowd"):
            if key in seen:
                reason = "annotations with the same box and class as another dropped"
            seen.add(key)
        if reason:
            done[reason] += 1
            continue
        _repair_crowd(annotation, done)
        _repair_area(annotation, done)
        kept.append(annotation)
    coco["annotations"] = kept


def _repair_box(annotation: dict, image: dict, done: Counter) -> str | None:
    """Clip the box to its image; returns why the annotation is to be dropped, or None."""
    box = box_of(annotation)
    if box is None:
        return "annotations without a box of four numbers dropped"
    if not all(map(math.isfinite, box)):
        return "annotations with NaN or infinity in their box dropped"
    left, top, width, height = box
    if width <= 0 or height <= 0:
        return "annotations with a box of zero or negative size dropped"
    if any(isinstance(value, str) for value in annotation["bbox"]):
        annotation["bbox"] = box
        done["boxes written as text made numbers"] += 1
    image_width, image_height = number(image.get("width")), number(image.get("height"))
    if not image_width or not image_height or image_width < 0 or image_height < 0:
        return None
    right, bottom = left + width, top + height
    if left >= image_width or top >= image_height or right <= 0 or bottom <= 0:
        return "annotations with a box outside their image dropped"
    over = max(-left, -top, right - image_width, bottom - image_height)
    if over > TOLERANCE:
        left, top = max(left, 0.0), max(top, 0.0)
        annotation["bbox"] = [left, top, min(right, image_width) - left, min(bottom, image_height) - top]
        if annotation.get("area") is not None and not polygon_area(annotation.get("segmentation")):
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
        done["boxes clipped to their image"] += 1
    return None


def _repair_crowd(annotation: dict, done: Counter) -> None:
    crowd = annotation.get("iscrowd")
    if crowd is None:
        annotation["iscrowd"] = 0
        done["missing `iscrowd` set to 0"] += 1
    elif crowd not in (0, 1) or isinstance(crowd, (str, bool)):
        annotation["iscrowd"] = int(str(crowd).strip().lower() not in ("", "0", "0.0", "false", "no", "none"))
        done["`iscrowd` made 0 or 1"] += 1


def _repair_area(annotation: dict, done: Counter) -> None:
    width, height = box_of(annotation)[2:]
    mask = polygon_area(annotation.get("segmentation")) if not annotation["iscrowd"] else math.nan
    area = number(annotation.get("area"))
    if area is None or wrong_area(area, width, height, mask):
        usable = mask is not None and mask > 0 and not wrong_area(mask, width, height, mask)
        what = "missing" if annotation.get("area") is None else "wrong"
        annotation["area"] = mask if usable else width * height
        done[f"{what} `area` computed from the mask or the box"] += 1


def _number_annotations(annotations: list[dict], done: Counter) -> None:
    """Keep good ids, give new ones, above all others, to annotations whose id is 0, missing, or taken."""
    used = {annotation.get("id") for annotation in annotations if whole(annotation.get("id")) is not None}
    unused = max(used, default=0)
    unused, taken = max(unused, 0) + 1, set()
    for annotation in annotations:
        own = annotation.get("id")
        if type(own) is not int or own == 0 or own in taken:
            annotation["id"], unused = unused, unused + 1
            done["annotations given a new id (0, missing, or taken)"] += 1
        taken.add(annotation["id"])


def _hashable(value):
    return None if isinstance(value, (list, dict)) else value
