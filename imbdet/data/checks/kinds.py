"""Every kind of finding, as data: how bad it is, what it means, what would be right, and whether `--fix` repairs it.

An error is what makes a training or an evaluation wrong or impossible; a warning is what this framework copes with, but
other tools do not, or what you should know; an info is neither.
"""

from __future__ import annotations

from typing import NamedTuple

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)


class Kind(NamedTuple):
    """severity, what was found, what would be right, and whether it can be repaired without a person's judgement."""

    severity: str
    title: str
    right: str
    fixable: bool


KINDS = {
    # the file
    "unreadable_file": Kind(ERROR, "the file cannot be read", "a complete COCO JSON file", False),
    "not_strict_json": Kind(ERROR, "not valid JSON", "no NaN or Infinity, UTF-8 without a byte order mark", True),
    "lacks_key": Kind(ERROR, "a key is missing", "see the place", False),
    "wrong_type": Kind(ERROR, "a value is of the wrong type", "see the place", False),
    "label_file": Kind(ERROR, "a label file cannot be understood", "see there", False),
    "no_images": Kind(ERROR, "no image", "at least one image", False),
    "no_categories": Kind(ERROR, "no category", "at least one category", False),
    "no_boxes": Kind(ERROR, "no box at all", "boxes to learn from", False),
    # ids and names
    "duplicate_image_id": Kind(ERROR, "image id occurs more than once", "unique ids", False),
    "duplicate_annotation_id": Kind(ERROR, "annotation id occurs more than once", "unique ids", True),
    "duplicate_category_id": Kind(ERROR, "category id occurs more than once", "unique ids", False),
    "duplicate_category_name": Kind(ERROR, "several categories have one name", "one category for each name", True),
    "duplicate_file_name": Kind(
        ERROR, "several images are one picture file", "one image entry for each picture, with all its boxes", True
    ),
    "annotation_id_0": Kind(WARNING, "annotation id 0", "ids from 1: COCO evaluators count id 0 as never found", True),
    "unknown_image": Kind(ERROR, "annotation of an image that is not there", "the id of one of the images", True),
    "unknown_category": Kind(ERROR, "annotation of an unknown category", "the id of one of the categories", True),
    # boxes
    "box_convention": Kind(
        ERROR,
        "the boxes are not [left, top, width, height] in pixels",
        "convert all of them before anything else",
        False,
    ),
    "box_not_finite": Kind(ERROR, "box with NaN or infinity", "four finite numbers", True),
    "box_negative_size": Kind(ERROR, "box of negative size", "width and height above 0", True),
    # COCO's own train2017 has one, and training drops them: a warning.
    "box_zero_size": Kind(WARNING, "box of zero size", "width and height above 0; training leaves it out", True),
    "box_outside": Kind(ERROR, "box entirely outside its image", "a box on the picture", True),
    "box_partly_outside": Kind(
        WARNING, "box partly outside its image, by more than 1 pixel", "0 <= left, left + width <= image width", True
    ),
    "duplicate_box": Kind(
        WARNING, "the same box of the same class twice in an image", "one annotation an object", True
    ),
    "wrong_area": Kind(
        WARNING, "wrong `area`", "pixels of the mask, or width * height; it decides small, medium, large", True
    ),
    "missing_area": Kind(WARNING, "missing `area`", "width * height (taken here; pycocotools fails)", True),
    "missing_iscrowd": Kind(WARNING, "missing `iscrowd`", "0 (taken here; pycocotools fails)", True),
    "wrong_iscrowd": Kind(WARNING, "`iscrowd` is neither 0 nor 1", "0 or 1", True),
    # pictures
    "image_size": Kind(ERROR, "image without a positive width and height", "the picture's size in pixels", False),
    "size_differs": Kind(ERROR, "the picture's size is not the one in the file", "the size of the picture", False),
    "size_turned": Kind(
        ERROR,
        "the file has the picture's size before its EXIF orientation",
        "the size as the picture is shown; look at it: if its boxes lie wrong, turn them or remove the EXIF tag",
        False,
    ),
    "picture_missing": Kind(ERROR, "no such picture", "a file in the folder of pictures", True),
    "picture_unreadable": Kind(ERROR, "not readable as a picture", "a picture file", True),
    "picture_truncated": Kind(ERROR, "picture cut short", "a complete file: copy it again", False),
    "picture_repeated": Kind(WARNING, "the same picture twice in one split", "each picture once", False),
    "pictures_not_checked": Kind(INFO, "pictures were not checked", "--images DIR", False),
    # classes and splits
    "class_without_boxes": Kind(
        WARNING,
        "class without any box, left out of groups, weights, means and samplers' targets",
        "boxes of every class in train and val",
        False,
    ),
    "grouping_category": Kind(
        INFO,
        "a category that only groups others (it is their supercategory) and has no box",
        "nothing to do here: it stays in the list of names and is in no statistic",
        False,
    ),
    "classes_differ": Kind(
        ERROR, "classes that the training file does not have", "the same names in both files", False
    ),
    "class_missing": Kind(WARNING, "a class of the training file is not in this file", "the same names", False),
    "category_ids_differ": Kind(
        INFO,
        "a class has another id than in the training file",
        "nothing to do here: classes are matched by name",
        False,
    ),
    "same_picture": Kind(
        ERROR, "the same picture in two splits", "val and test pictures that train does not have", False
    ),
    "same_file_name": Kind(
        WARNING,
        "the same file name and length in two splits",
        "val and test pictures that train does not have; tools/check_data.py compares their content",
        False,
    ),
    "images_without_objects": Kind(INFO, "images without objects", "kept, as background (keep_empty)", False),
}
