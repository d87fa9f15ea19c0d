"""detectron2's data sets as Records, and our image samplers as its samplers; what needs no detectron2."""

from itertools import islice

import numpy as np
import pytest

from imbdet.detectron2.data import ImageStream, later, records_of_dicts
from imbdet.remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling

LABELS = [[0, 0, 0], [0, 1], [2], [], [0], [0, 0]]


def dicts():
    return [
        {
            "file_name": f"/data/{i}.png",
            "image_id": f"name{i}",
            "height": 50,
            "width": 80,
            "annotations": [{"bbox": [1, 2, 11, 22], "bbox_mode": 0, "category_id": k} for k in labels],
        }
        for i, labels in enumerate(LABELS)
    ]


def records():
    return records_of_dicts(dicts(), ["many", "few", "rare"], "mine")


def taken(stream, count):
    return list(islice(iter(stream), count))


def test_records_are_in_the_order_of_the_loader_with_counts_of_the_classes():
    rows = dicts()
    rows[1]["annotations"][0].update(bbox=[1, 2, 10, 20], bbox_mode=1)  # the same box as XYWH
    rows[4]["annotations"][0]["iscrowd"] = 1
    made = records_of_dicts(rows, ["many", "few", "rare"], "mine")
    assert made.class_counts().tolist() == [6, 1, 1] and made.image_ids.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(made.xywh, np.tile([1, 2, 10, 20], (9, 1)))
    assert made.images.name(2) == "/data/2.png"
    assert records_of_dicts(rows, None, "mine").class_names == ("0", "1", "2")


def test_strange_rows_are_refused():
    with pytest.raises(ValueError, match=r"mine: category_id 0..2 is outside 0..1"):
        records_of_dicts(dicts(), ["many", "few"], "mine")
    rows = dicts()
    rows[0]["annotations"][0]["bbox_mode"] = 4
    with pytest.raises(ValueError, match="bbox_mode 4; known are XYXY_ABS and XYWH_ABS"):
        records_of_dicts(rows, None, "mine")


@pytest.mark.parametrize("sampler", [None, later(f"{RepeatFactorSampling.__module__}.RepeatFactorSampling")])
def test_processes_share_one_stream_in_turns(sampler):
    whole = taken(ImageStream(records(), sampler, seed=5, rank=0, world_size=1), 60)
    shares = [taken(ImageStream(records(), sampler, seed=5, rank=rank, world_size=3), 20) for rank in range(3)]
    assert [image for turn in zip(*shares, strict=True) for image in turn] == whole
    assert taken(ImageStream(records(), sampler, seed=6, rank=0, world_size=1), 60) != whole


def test_repeat_factors_bring_the_rare_class_more_often():
    sampler = later(f"{RepeatFactorSampling.__module__}.RepeatFactorSampling", threshold=0.9, max_repeats=10.0)
    drawn = np.bincount(taken(ImageStream(records(), sampler, seed=0, rank=0, world_size=1), 600), minlength=6)
    plain = np.bincount(taken(ImageStream(records(), None, seed=0, rank=0, world_size=1), 600), minlength=6)
    assert plain.tolist() == [100] * 6
    assert (
        drawn[2] > 1.5 * drawn[0] and "RepeatFactorSampling" in ImageStream(records(), sampler, None, 0, 0, 1).described
    )


def test_balanced_records_lead_back_to_the_loaders_images():
    class OnlyRare:
        def __call__(self, given):
            return given.subset([2, 2, 1])

        def report(self, before, after):
            return f"{len(before)} -> {len(after)}"

    stream = ImageStream(records(), None, OnlyRare(), seed=0, rank=0, world_size=1)
    assert sorted(taken(stream, 3)) == [1, 2, 2] and stream.described.startswith("6 -> 3")


def test_a_rank_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="rank is 2, which is not in 0..1"):
        ImageStream(records(), seed=0, rank=2, world_size=2)
