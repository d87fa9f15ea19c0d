import pytest
import torch

from imbdet.engine.meters import LossWindow, NonFiniteLoss, read_pictures, read_stats, region_scalars
from imbdet.modeling.boxes import BoxCoder
from imbdet.structures import Matched, Picture, RegionStats

CPU = torch.device("cpu")


def example():
    """Two images, three classes, six regions of 10 x 10: labels rare 0, frequent 2 (twice), background 3, ignored -1.

    IoU of the three positives before regression: 0.5, 0.62, 0.97. The deltas shift region 0 onto its object and leave
    the others: a 10 x 10 box 2.5 beside its object has IoU 0.6, one of 12.5 x 10 over a 10 x 10 object 0.8.
    """
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(6, 1)
    targets = boxes.clone()
    targets[0] = torch.tensor([5.0, 0, 15, 10])
    targets[1] = torch.tensor([2.5, 0, 12.5, 10])
    targets[2] = torch.tensor([0.0, 0, 12.5, 10])
    deltas = torch.zeros(6, 4)
    deltas[0, 0] = 0.5  # dx of half a width
    matched = Matched(
        labels=torch.tensor([0, 2, 2, 3, 3, -1]),
        objects=torch.tensor([0, 1, 2, 0, 0, 0]),
        iou=torch.tensor([0.5, 0.62, 0.97, 0.1, 0.1, 0.45]),
        images=torch.tensor([0, 0, 1, 0, 1, 1]),
        levels=torch.tensor([0, 0, 2, 0, 1, 1]),
        boxes=boxes,
        targets=targets,
        num_classes=3,
        num_images=2,
    )
    classification = torch.tensor([1.0, 2.0, 3.0, 3.0, 1.0, 0.0])
    return RegionStats(matched, classification, torch.zeros(6), deltas, BoxCoder())


def test_region_scalars_by_hand():
    groups = torch.tensor([0, 1, 2])
    scalars, histograms = region_scalars(example(), groups)
    assert scalars["positives/per_image"] == 1.5
    assert [scalars[f"positives/level_{i}"] for i in range(3)] == [1.0, 0.0, 0.5]
    wanted = {"background": 0.4, "foreground": 0.6, "rare": 0.1, "common": 0.0, "frequent": 0.5}
    assert {name: scalars[f"share/{name}"] for name in wanted} == pytest.approx(wanted)
    assert histograms["iou/before"]["counts"] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert histograms["iou/after"]["counts"] == [0, 0, 1, 0, 0, 0, 1, 0, 0, 1]  # 0.6, 0.8, 1.0
    assert scalars["iou/after_mean"] == pytest.approx(0.8) and scalars["iou/before_below_0.5"] == 0


def test_a_batch_without_positives():
    stats = example()
    stats.matched.labels[:3] = 3
    scalars, histograms = region_scalars(stats, None)
    assert scalars["positives/per_image"] == 0 and scalars["share/background"] == 1 and histograms == {}


def test_groups_are_left_out_where_classes_are_not_the_datas():
    assert "share/rare" not in region_scalars(example(), torch.tensor([0, 1, 2, 2]))[0]


def test_names_of_a_report():
    stats = {"rpn/regions": example(), "theirs": torch.tensor(2.0), "mine/weight": torch.tensor([3.0])}
    scalars, histograms = read_stats(stats, None)
    assert scalars["positives/rpn_per_image"] == 1.5 and "iou/rpn_before" in histograms
    assert scalars["stats/theirs"] == 2 and scalars["mine/weight"] == 3


def deferred_window():
    """A window that checks as on a GPU."""
    window = LossWindow(torch.device("cpu"))
    window.immediate = False
    return window


def losses(a, b=1.0):
    return {"loss_cls": torch.tensor(a, requires_grad=True), "loss_box": torch.tensor(b)}


def test_pictures_are_drawn_when_asked_for_and_not_before():
    drawn, picture = [], torch.zeros(3, 4, 4, dtype=torch.uint8)
    stats = {"roi/masks": Picture(lambda: drawn.append(1) or picture), "roi/mean": torch.tensor(2.0)}
    assert read_stats(stats, None) == ({"roi/mean": 2.0}, {}) and not drawn
    pictures = read_pictures(stats)
    assert list(pictures) == ["pictures/roi/masks"] and not drawn
    assert pictures["pictures/roi/masks"]() is picture


def test_window_is_a_mean_and_starts_anew():
    window = LossWindow(CPU)
    window.add(1, losses(1.0), [1])
    window.add(2, losses(3.0), [2])
    assert window.read() == {"loss/total": 3.0, "loss/cls": 2.0, "loss/box": 1.0}
    window.add(3, losses(5.0), [3])
    assert window.read()["loss/cls"] == 5.0


def test_non_finite_loss_stops_at_once_on_a_cpu():
    window = LossWindow(CPU)
    window.add(6, losses(1.0), [10, 11])
    with pytest.raises(NonFiniteLoss) as error:
        window.add(7, losses(float("inf")), [12, 13])
    assert error.value.image_ids == [12, 13] and error.value.iteration == 7
    for part in (
        "iteration 7",
        "loss_cls inf",
        "loss_box 1",
        "[12, 13]",
        "1. the learning rate",
        "2. a box",
        "3. numbers",
    ):
        assert part in str(error.value)


def test_on_a_gpu_the_first_bad_iteration_is_found_at_the_report():
    window = deferred_window()
    for iteration in range(1, 5):
        window.add(iteration, losses(float("nan") if iteration >= 3 else 1.0), [iteration])
    with pytest.raises(NonFiniteLoss) as error:
        window.read()
    assert error.value.iteration == 3 and error.value.image_ids == [3]


def test_keeping_a_loss_waits_for_nothing():
    """No operator that a GPU would have to be waited for, between two reports."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(func.__name__.split(".")[0])
            return func(*args, **(kwargs or {}))

    window, batch = deferred_window(), losses(1.0)
    with Names() as names:
        window.add(1, batch, [1])
    assert set(names.seen) <= {"detach"}
    with Names() as names:
        window.check()
        assert bool(torch.isfinite(batch["loss_box"]))
    assert "_local_scalar_dense" in names.seen  # the counter does see a wait
