"""Section 7: crowding against a double loop and torchvision, duplicates against pictures made for it."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from imbdet.diagnose import overlap
from imbdet.diagnose.duplicates import diagnose_duplicates, difference_hash, hash_pictures, near_duplicates, read_gray
from imbdet.diagnose.overlap import crowding, diagnose_overlap
from imbdet.diagnose.structures import Missing

from .helpers import box, make_records


@pytest.mark.parametrize("block", [3, 2**21])
def test_crowding_against_a_double_loop(block, monkeypatch):
    monkeypatch.setattr(overlap, "BLOCK", block)
    rng = np.random.default_rng(0)
    images = [
        [(int(rng.integers(3)), *rng.uniform(0, 40, 2), *rng.uniform(20, 60, 2)) for _ in range(n)]
        for n in (0, 1, 7, 2, 12)
    ]
    records = make_records(images, crowd=[3])
    own, other, _ = crowding(records)
    boxes = torch.tensor(np.hstack([records.xywh[:, :2], records.xywh[:, :2] + records.xywh[:, 2:]]))
    iou = box_iou(boxes, boxes).numpy()
    for i in range(records.num_objects):
        for values, same in ((own, True), (other, False)):
            others = [
                iou[i, j]
                for j in range(records.num_objects)
                if j != i and records.object_image[i] == records.object_image[j]
                and (records.labels[i] == records.labels[j]) == same and 3 not in (i, j)
            ]  # fmt: skip
            assert values[i] == pytest.approx(max(others, default=0.0))


def test_shares_and_nearly_equal_boxes():
    """Two boxes of class a with IoU 1, a b on them with IoU 1, one alone: half of all is lost to suppression."""
    records = make_records([[box(0), box(0), box(1)], [box(0)]])
    numbers = diagnose_overlap({"train": records})["splits"]["train"]
    assert numbers["lost_to_nms"] == 0.5 and numbers["lost_to_nms_per_class"] == pytest.approx({"a": 2 / 3})
    assert numbers["crowded"] == 0.75 and sum(numbers["any_class"]) == 4 and numbers["any_class"][-1] == 3
    assert numbers["nearly_equal"]["same_class"] == 1 and numbers["nearly_equal"]["other_class"] == 2
    assert {(p["a"], p["b"]) for p in numbers["nearly_equal"]["pairs"]} == {(0, 1), (0, 2), (1, 2)}


def test_a_small_overlap_is_not_lost():
    """Two boxes of IoU 1/3: crowded (above 0.3), and suppression at 0.5 keeps both."""
    numbers = diagnose_overlap({"train": make_records([[box(0, 0, 0), box(0, 10, 0)]])})["splits"]["train"]
    assert numbers["lost_to_nms"] == 0 and numbers["lost_to_nms_per_class"] == {} and numbers["crowded"] == 1


@pytest.mark.parametrize(("bits", "same"), [(0, True), (4, True), (5, False)])
def test_bits_find_candidates_and_thumbnails_decide(bits, same):
    rng = np.random.default_rng(0)
    base = int(rng.integers(2**62))
    changed = base ^ sum(1 << (12 * i) for i in range(bits))  # spread over the parts
    one, two = rng.normal(size=(2, 256)).astype(np.float32)
    one, two = one / np.linalg.norm(one), two / np.linalg.norm(two)
    far = np.array([~base & (2**64 - 1), base ^ 0x5555555555555555], dtype=np.uint64)
    for thumbnails, expected in (([one, one], same), ([one, two], False)):
        hashed = {
            "hash": np.array([base, changed], dtype=np.uint64), "mirrored": far, "thumbnail": np.array(thumbnails),
        }  # fmt: skip
        assert near_duplicates(hashed).tolist() == ([[0, 1]] if expected else [])


def test_no_box_is_said():
    with pytest.raises(Missing):
        diagnose_overlap({"train": make_records([[]])})


def picture(seed, noise=0):
    """A smooth picture of its own, with some noise on it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 6, 3)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.tensor(coarse).permute(2, 0, 1)[None], size=(96, 128), mode="bicubic"
    )
    rng = np.random.default_rng(seed + 1000)
    return (smooth[0].permute(1, 2, 0).numpy() + rng.normal(0, noise, (96, 128, 3))).clip(0, 255).astype(np.uint8)


def test_duplicates_within_and_across_splits():
    """Training: 0..29, a noisy copy of 3; validation: 5 mirrored, a darker 8, and one of its own."""
    train = [picture(i) for i in range(30)] + [picture(3, noise=4)]
    val = [picture(5)[:, ::-1].copy(), (picture(8) * 0.8).astype(np.uint8), picture(99)]
    splits = {
        name: make_records([[box(0)]] * len(arrays), size=(128, 96), name=name, arrays=arrays)
        for name, arrays in (("train", train), ("val", val))
    }
    numbers = diagnose_duplicates(splits, hash_pictures(splits))
    pairs = {(row["a"][0], row["a"][1], row["b"][0], row["b"][1]) for row in numbers["pairs"]}
    assert pairs == {("train", 3, "train", 30), ("train", 5, "val", 0), ("train", 8, "val", 1)}
    assert numbers["within"] == {"train": 1, "val": 0} and numbers["across"] == {"train and val": 2}
    assert numbers["leaked"] == {"train": 0, "val": pytest.approx(2 / 3)} and numbers["pairs"][0]["leak"]


def test_pictures_without_contrast_and_unreadable_ones_are_counted():
    class Broken:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise OSError("no such file")

        def name(self, index):
            return "missing.jpg"

    from dataclasses import replace

    flat = make_records([[box(0)]] * 3)  # gray levels only
    broken = replace(make_records([[box(0)]], name="val"), images=Broken())
    hashed = hash_pictures({"train": flat, "val": broken})
    assert hashed["flat"] == 3 and hashed["unreadable"] == [("val", 0)] and len(near_duplicates(hashed)) == 0


def test_difference_hash_by_hand():
    """Columns that grow brighter to the right set all bits; mirrored, none."""
    gray = np.tile(np.repeat(np.arange(9.0), 16), (144, 1))
    assert difference_hash(gray) == 2**64 - 1 and difference_hash(gray[:, ::-1]) == 0


def test_a_jpeg_file_has_the_hash_of_its_pixels(tmp_path):
    from PIL import Image

    from imbdet.data.images import FileImages

    Image.fromarray(picture(1)).save(tmp_path / "0.jpg", quality=95)
    records = make_records([[box(0)]], size=(128, 96), arrays=[picture(1)])
    from dataclasses import replace

    filed = replace(records, images=FileImages(str(tmp_path), ["0.jpg"]))
    one, two = (difference_hash(read_gray(part, 0)) for part in (records, filed))
    assert bin(one ^ two).count("1") <= 2
