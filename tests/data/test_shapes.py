"""The shapes set: purity, tight boxes, and every dial doing what it says."""

import numpy as np
import pytest
import torch

from imbdet.data.datasets.shapes import shapes
from imbdet.data.datasets.shapes_layout import class_probabilities, uniforms
from imbdet.data.datasets.shapes_outlines import CLASSES, DISTRACTORS, OUTLINES, place
from imbdet.data.datasets.shapes_render import coverage

GOLDEN = {"labels": [0, 0, 7, 1, 1, 0, 0, 3], "xywh": [25.017, 17.232, 40.28, 38.701], "mean": 70.3286}


def _size(records):
    """Longer sides of the boxes."""
    return records.xywh[:, 2:].max(axis=1)


def _eccentricity(records):
    """Mean over the boxes of max(|x|, |y|) of their center, where the border of what is reachable is 1."""
    half = records.xywh[:, 2:] / 2
    reach = records.widths[0] / 2 - half
    return np.abs((records.xywh[:, :2] + half - records.widths[0] / 2) / reach).max(axis=1).mean()


def _iou(a, b):
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inter = np.prod(np.maximum(high - low, 0), axis=1)
    return inter / (np.prod(a[:, 2:], axis=1) + np.prod(b[:, 2:], axis=1) - inter)


def test_an_image_depends_on_seed_split_and_number_alone():
    few, many = shapes(num_images=7, seed=3), shapes(num_images=2150, seed=3)  # the latter in two chunks
    objects = few.num_objects
    assert np.array_equal(few.xywh, many.xywh[:objects]) and np.array_equal(few.labels, many.labels[:objects])
    for i in (0, 6):
        assert torch.equal(few.images[i], many.images[i])
        assert torch.equal(many.images[i], many.images[i])
    # Asked for in another order, an image is the same: there is no state.
    assert torch.equal(few.images[6], shapes(num_images=8, seed=3).images[6])


def test_pixels_and_boxes_stay_what_they_were():
    """Figures worked out once: comparisons of runs months apart rest on the data being the same."""
    records = shapes(num_images=2)
    assert records.images.name(1) == "shapes/train/seed0/000001"
    assert records.labels.tolist() == GOLDEN["labels"]
    assert records.xywh[0].round(3).tolist() == GOLDEN["xywh"]
    # Resizing in PIL and sine in numpy may round another way in other versions.
    assert records.images[0].double().mean().item() == pytest.approx(GOLDEN["mean"], abs=0.1)


def test_splits_and_seeds_share_no_image():
    sets = [shapes(split, seed, num_images=40) for split in ("train", "val", "test") for seed in (0, 1)]
    pictures = [records.images[i].numpy().tobytes() for records in sets for i in range(40)]
    assert len(set(pictures)) == len(pictures)
    boxes = [tuple(row) for records in sets for row in records.xywh]
    assert len(set(boxes)) == len(boxes)


def test_equal_arguments_give_the_same_object():
    """A config names the same data in several places; lists and tuples are alike there."""
    assert shapes("val", size=(16, 64)) is shapes("val", size=[16.0, 64.0])
    assert shapes("val", seed=1) is not shapes("val", seed=2)


@pytest.mark.parametrize("kind", range(len(OUTLINES)))
def test_a_box_is_the_extent_of_the_rendered_mask(kind):
    records = shapes("val", num_images=300, distractors=3, size=(12, 64), seed=5)
    scene = records.images.scene
    things = np.flatnonzero(scene.kind == kind)[:12]
    assert len(things) >= 5
    for thing in things:
        (_, rows, columns), mask = coverage(scene, thing, 128)
        assert 0 <= mask.min() and mask.max() <= 1
        # Half-covered pixels count: the extent is then right within a pixel on each side.
        ys, xs = np.nonzero(mask > 0.03)
        extent = [
            columns.start + xs.min(),
            rows.start + ys.min(),
            columns.start + xs.max() + 1,
            rows.start + ys.max() + 1,
        ]
        assert np.abs(extent - scene.boxes[thing]).max() <= 1.0, (kind, extent, scene.boxes[thing])


def test_a_mask_covers_the_area_of_its_outline():
    """The sum of the anti-aliased mask against the shoelace formula, less the hole.

    PIL fills every pixel that an edge touches, half a pixel too many at 4 times the resolution: 1/8 pixel of the edge.
    """
    scene = shapes("val", num_images=100, distractors=3, size=(40, 60), seed=5).images.scene
    for thing in range(0, len(scene.kind), 5):
        outline = OUTLINES[scene.kind[thing]]
        area, edge = 0.0, 0.0
        for sign, ring in ((1, outline.outer), (-1, outline.hole)):
            if ring is not None:
                corners = place(ring, scene.angle[[thing]], scene.stretch[[thing]])[0] * scene.scale[thing]
                area += sign * _shoelace(corners)
                edge += np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum()
        assert abs(coverage(scene, thing, 128)[1].sum() - area) < 0.15 * edge


def _shoelace(ring):
    x, y = ring.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_objects_are_visible_and_their_color_does_not_tell_the_class():
    records = shapes("val", seed=1, num_images=150, distractors=0)
    scene = records.images.scene
    inside, outside = np.zeros((records.num_objects, 3)), np.zeros((records.num_objects, 3))
    for thing in range(records.num_objects):
        window, mask = coverage(scene, thing, 128)
        pixels = records.images[int(records.object_image[thing])].numpy()[window].astype(float)
        inside[thing] = pixels[:, mask > 0.9].mean(axis=1)
        outside[thing] = pixels[:, mask < 0.1].mean(axis=1)
    contrast = np.linalg.norm(inside - outside, axis=1)
    assert np.quantile(contrast, 0.05) > 25 and np.median(contrast) > 60
    # Means of each class against all, in standard errors: 30 numbers, of which one beyond 4 has a chance of 1 in 500.
    counts = np.bincount(records.labels)[:, None]
    means = np.stack([inside[records.labels == k].mean(axis=0) for k in range(10)])
    assert np.abs((means - inside.mean(axis=0)) / inside.std(axis=0) * np.sqrt(counts)).max() < 4


def test_class_ratio():
    for ratio in (1, 10, 50):
        counts = shapes(class_ratio=ratio, num_images=2000).class_counts()
        expected = class_probabilities(10, ratio) * counts.sum()
        assert np.abs(counts - expected).max() < 0.05 * expected.max()
        assert counts[0] / counts[-1] == pytest.approx(ratio, rel=0.15)
    for split in ("val", "test"):
        counts = shapes(split, class_ratio=50).class_counts()
        assert counts.max() < 1.1 * counts.min()


def test_class_shares_are_geometric():
    """K = 3, ratio 4: weights 1, 1/2, 1/4, thus 4/7, 2/7, 1/7."""
    assert class_probabilities(3, 4) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert class_probabilities(1, 50).tolist() == [1.0]


def test_sizes_are_log_uniform_unless_skewed():
    size = _size(shapes(num_images=1000))
    assert size.min() >= 16 - 1e-9 and size.max() <= 64 + 1e-9
    quantiles = np.quantile(size, [0.25, 0.5, 0.75])
    # A little smaller than 16 * (64/16)^q, since a large object finds no place more often.
    assert quantiles == pytest.approx(16 * (64 / 16) ** np.array([0.25, 0.5, 0.75]), rel=0.06)
    share = {
        skew: np.log(_size(shapes(num_images=1000, size_skew=skew)) / 16).mean() / np.log(64 / 16) for skew in (-1, 1)
    }
    assert share[-1] == pytest.approx(1 / 3, abs=0.03) and share[1] == pytest.approx(2 / 3, abs=0.06)


def test_places():
    """Mean eccentricity of uniform places 2/3, at the center 1/5, at the border 16/17 (u^4, u^(1/16))."""
    mean = {place: _eccentricity(shapes(num_images=600, objects_per_image=(1, 1), place=place)) for place in (0, 1, -1)}
    assert mean[0] == pytest.approx(2 / 3, abs=0.03)
    assert mean[1] == pytest.approx(1 / 5, abs=0.03)
    assert mean[-1] == pytest.approx(16 / 17, abs=0.02)


def test_uniform_places_fill_the_square_evenly():
    records = shapes(num_images=2000, objects_per_image=(1, 1), size=(12, 12))
    centers = records.xywh[:, :2] + records.xywh[:, 2:] / 2
    counts, _, _ = np.histogram2d(*centers.T, bins=4, range=[[6, 122], [6, 122]])
    assert np.abs(counts - 125).max() < 45  # 4 standard deviations of a count of 125


@pytest.mark.parametrize("noise", [0.9, 0.7, 0.5])
def test_label_noise_is_the_mean_iou(noise):
    noisy, true = shapes(num_images=1500, label_noise=noise), shapes(num_images=1500)
    assert _iou(noisy.xywh, true.xywh).mean() == pytest.approx(noise, abs=0.02)
    assert torch.equal(noisy.images[3], true.images[3])  # what is seen stays as it is
    assert np.array_equal(shapes("val", label_noise=noise).xywh, shapes("val").xywh)
    limits = noisy.xywh[:, :2] + noisy.xywh[:, 2:]
    assert noisy.xywh.min() >= 0 and limits.max() <= 128


def test_no_label_noise_is_exact():
    records = shapes(num_images=50)
    boxes = records.images.scene.boxes[records.images.scene.is_object]
    assert np.array_equal(records.xywh[:, :2], boxes[:, :2])
    assert np.array_equal(records.xywh[:, 2:], boxes[:, 2:] - boxes[:, :2])


def test_occlusion_is_kept_and_reached():
    for allowed, reached in ((0.0, 0.0), (0.1, 0.05), (0.6, 0.3)):
        scene = shapes(num_images=200, occlusion=allowed).images.scene
        worst = max(_worst_overlap(scene.boxes[a:b]) for a, b in zip(scene.offsets, scene.offsets[1:], strict=False))
        assert reached <= worst <= allowed + 1e-9


def _worst_overlap(boxes):
    """The largest share of the smaller box that two boxes have in common, by a plain double loop."""
    worst = 0.0
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            area = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
            worst = max(worst, max(w, 0) * max(h, 0) / area)
    return worst


def changed_shares(covered, number=60):
    """Of each object the share of its pixels that covers change; and of all other pixels the largest change."""
    plain, other = (shapes("test", num_images=number, covered=value) for value in (0.0, covered))
    assert np.array_equal(plain.xywh, other.xywh) and plain.fingerprint() != other.fingerprint()
    scene, shares = plain.images.scene, []
    for i in range(number):
        different = (plain.images[i] != other.images[i]).any(dim=0).numpy()
        for thing in range(scene.offsets[i], scene.offsets[i + 1]):
            if scene.is_object[thing]:
                (_, *window), mask = coverage(scene, thing, 128)
                shares.append(different[tuple(window)][mask > 0.5].mean())
    return np.array(shares)


def test_covered_objects_lose_a_part_from_one_side_and_keep_their_boxes():
    """All: each loses some of its pixels, none all of them, about 40 % on average (0.25 to 0.6 of the box)."""
    shares = changed_shares(1.0)
    assert len(shares) > 150 and 0.3 < shares.mean() < 0.55
    assert (shares > 0.02).mean() > 0.98 and (shares > 0.95).mean() < 0.05


def test_the_share_of_covered_objects():
    """Half of them, and some that lie under a neighbor's cover (4 deviations of 200 objects are 0.14)."""
    hit = (changed_shares(0.5) > 0.1).mean()
    assert 0.38 < hit < 0.72
    assert torch.equal(shapes("test", num_images=3, covered=0.0).images[2], shapes("test", num_images=3).images[2])


def test_numbers_of_objects_and_distractors():
    records = shapes(num_images=600, objects_per_image=(0, 3), size=(12, 20), distractors=4)
    counts = np.bincount(np.diff(records.offsets), minlength=4)
    assert len(counts) == 4 and np.abs(counts - 150).max() < 50 and records.num_empty == counts[0]
    scene = records.images.scene
    extra = np.add.reduceat(np.r_[~scene.is_object, False].astype(int), scene.offsets[:-1])
    assert extra.max() <= 4 and len(np.unique(scene.kind[~scene.is_object])) == len(DISTRACTORS)
    assert shapes(num_images=50, distractors=0).images.scene.is_object.all()


def test_without_clutter_the_ground_is_plain():
    plain, textured = (shapes(num_images=30, clutter=c, distractors=0).images[4].double().std().item() for c in (0, 2))
    assert plain < textured


def test_image_size_and_num_classes():
    records = shapes(num_images=20, image_size=96, num_classes=3, class_ratio=1, size=(10, 90))
    assert records.images[0].shape == (3, 96, 96) and records.images[0].dtype == torch.uint8
    assert records.class_names == tuple(CLASSES)[:3] and records.labels.max() == 2
    assert (records.xywh[:, :2] >= -1e-9).all() and (records.xywh[:, :2] + records.xywh[:, 2:] <= 96 + 1e-9).all()


def test_records_agree_with_coco():
    """What the evaluation reads: ids from 1, area = width x height."""
    truth = shapes("val", num_images=3).to_coco()
    assert [image["id"] for image in truth["images"]] == [1, 2, 3]
    for annotation in truth["annotations"]:
        assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3])
        assert annotation["id"] >= 1 and 1 <= annotation["category_id"] <= 10


def test_the_hash_is_uniform_and_a_function_of_its_place():
    u = uniforms((1, 2), np.arange(20000), 5)
    assert np.array_equal(u[17:20, :3], uniforms((1, 2), np.arange(17, 20), 3))
    assert np.abs(u.mean(axis=0) - 0.5).max() < 0.01 and np.abs(u.std(axis=0) - 12**-0.5).max() < 0.005
    assert np.abs(np.corrcoef(u.T) - np.eye(5)).max() < 0.03
    assert np.abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize(
    "dial, value",
    [
        ("split", "valid"),
        ("seed", -1),
        ("num_images", 0),
        ("num_classes", 11),
        ("class_ratio", 0.5),
        ("objects_per_image", (3, 1)),
        ("size", (12, 200)),
        ("size", (12,)),
        ("place", 2),
        ("clutter", -1),
        ("occlusion", 1.5),
        ("covered", -0.1),
        ("label_noise", 0.1),
    ],
)
def test_a_wrong_dial_is_named(dial, value):
    with pytest.raises(ValueError, match=dial):
        shapes(**{dial: value})
