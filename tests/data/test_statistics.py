"""Counts and groups against numbers worked by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from imbdet.data.datasets.coco import records_from_coco
from imbdet.data.statistics import (
    class_counts,
    class_names,
    describe,
    frequency_groups,
    imbalance_ratio,
    input_size_range,
    input_sizes,
    num_classes,
    objects_per_image,
    size_summary,
)


def with_image_counts(counts, boxes_per_image=1):
    """Records in which class k is in counts[k] images, each with so many boxes of it."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 100} for i in range(1, max(counts) + 1)]
    annotations = [
        {"image_id": i, "category_id": k, "bbox": [0, 0, 10, 40], "area": 400, "iscrowd": 0}
        for k, count in enumerate(counts)
        for i in range(1, count + 1)
        for _ in range(boxes_per_image)
    ]
    for i, annotation in enumerate(annotations, 1):
        annotation["id"] = i
    categories = [{"id": k, "name": f"class {k}"} for k in range(len(counts))]
    return records_from_coco({"images": images, "annotations": annotations, "categories": categories}, "made", ".")


def test_names_and_counts(coco):
    records = records_from_coco(coco, "made", ".")
    assert num_classes(records) == 2 and class_names(records) == ["cat", "dog"] and class_counts(records) == [2, 1]
    assert imbalance_ratio(records) == 2 and objects_per_image(records).tolist() == [1, 2]


def test_crowd_counts_nowhere(coco):
    coco["annotations"][1]["iscrowd"] = 1
    records = records_from_coco(coco, "made", ".")
    assert class_counts(records) == [1, 1] and objects_per_image(records).tolist() == [0, 2]
    assert size_summary(records).percentiles[2] == pytest.approx((np.sqrt(200) + 5) / 2)


def test_lvis_limits_are_10_and_100_images_not_boxes():
    groups = frequency_groups(with_image_counts([101, 100, 11, 10, 1], boxes_per_image=2))
    assert groups.labels == {"rare": (3, 4), "common": (1, 2), "frequent": (0,)}
    assert "LVIS" in groups.rule and groups.of(2) == "common"


def test_terciles_where_a_group_would_be_empty():
    groups = frequency_groups(with_image_counts([9, 2, 40, 5, 60, 3, 30]))
    assert groups.labels == {"rare": (1, 3, 5), "common": (0, 6), "frequent": (2, 4)}
    assert "terciles" in groups.rule and "rare = 2 to 5" in groups.rule


@pytest.mark.parametrize("counts", [[5], [5, 6]])
def test_fewer_than_three_classes(counts):
    groups = frequency_groups(with_image_counts(counts))
    assert sorted(sum(groups.labels.values(), ())) == list(range(len(counts)))


def test_sizes():
    sizes = size_summary(with_image_counts([3]))
    assert (sizes.small, sizes.medium, sizes.large) == (1, 0, 0)
    assert sizes.percentiles == (20,) * 5 and sizes.relative == pytest.approx((0.2,) * 5)
    assert sizes.aspect == (0.25,) * 5


def test_nothing_to_count(coco):
    coco["annotations"] = []
    records = records_from_coco(coco, "made", ".")
    assert np.isnan(imbalance_ratio(records)) and size_summary(records) is None
    assert "2 images (2 without objects), 0 boxes" in describe(records)


def test_describe_lists_the_ends_of_many_classes():
    text = describe(with_image_counts(list(range(1, 31))), limit=4)
    assert "class 29: 30 boxes in 30 images" in text and "class 0: 1 boxes" in text and "class 15" not in text


def test_a_class_without_boxes_is_in_no_group():
    """Terciles of the three classes with boxes: one each; the two without are in none, and the log says so."""
    groups = frequency_groups(with_image_counts([0, 9, 0, 2, 40]))
    assert groups.labels == {"rare": (3,), "common": (1,), "frequent": (4,)} and groups.of(0) is None
    assert "rare = 2 to 2" in groups.rule and "2 without boxes in no group" in groups.rule
    lvis = frequency_groups(with_image_counts([0, 101, 50, 3]))
    assert lvis.labels == {"rare": (3,), "common": (2,), "frequent": (1,)}
    assert imbalance_ratio(with_image_counts([0, 9, 3])) == 3


def squares(sides, size=(1000, 500)):
    """One image with a square of each side."""
    images = [{"id": 1, "file_name": "1.jpg", "width": size[0], "height": size[1]}]
    annotations = [
        {"id": i, "image_id": 1, "category_id": 0, "bbox": [0, 0, s, s], "area": s * s, "iscrowd": 0}
        for i, s in enumerate(sides, 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "a"}]}
    return records_from_coco(content, "made", ".")


def test_limits_of_small_and_medium_belong_to_the_larger_and_percentiles_by_hand():
    """Areas of exactly 32^2 and 96^2 are medium and large; of sides 10, 20 .. 210 every twentieth part is the next."""
    sizes = size_summary(squares([0.5, 31, 32, 95, 96, 97]))
    assert (sizes.small, sizes.medium, sizes.large) == pytest.approx((2 / 6, 2 / 6, 2 / 6))
    sizes = size_summary(squares([10 * i for i in range(1, 22)]))
    assert sizes.percentiles == pytest.approx((20, 60, 110, 160, 200))


def test_sizes_in_the_input_and_their_range():
    """500 x 1000 to 250 on the short side is half; a limit of 400 on the long side is two fifths."""
    records = squares([10 * i for i in range(1, 22)])
    free, tight = (SimpleNamespace(lengths=[200, 300], max_size=most) for most in (9999, 400))
    assert input_sizes(records)[0] == 10 and input_sizes(records, free)[0] == pytest.approx(5)
    assert input_sizes(records, tight)[0] == pytest.approx(4)
    assert input_size_range(records) == pytest.approx([20, 200])
    assert input_size_range(records, share=0.5) == pytest.approx([60, 160])


def test_describe_says_how_large_objects_are_and_as_many_classes_as_asked():
    text = describe(with_image_counts(list(range(1, 31))), limit=4)
    assert text.count("boxes in") == 4 and "class 28: 29 boxes" in text and "class 1: 2 boxes" in text
    assert "objects small 100%, medium 0%, large 0%; side of the median box 20 px" in text
