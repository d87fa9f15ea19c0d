"""balance/box_over_cls against gradients by hand, and that taking it changes nothing."""

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.engine.balance import box_over_cls, gradient_norms

#: config and remedies -> {point: (classification loss, box loss, where the shared parameters are)}
CASES = {
    ("faster_rcnn",): {"": ("loss_cls", "loss_box_reg", "roi_heads.box_head.fc2.")},
    ("retinanet",): {"": ("loss_cls", "loss_box_reg", "neck.")},
    ("faster_rcnn", "cascade_rcnn"): {
        f"stage{t}": (f"loss_cls_stage{t}", f"loss_box_reg_stage{t}", f"roi_heads.box_head.{t}.fc2.") for t in range(3)
    },
    ("faster_rcnn", "iou_uniform_rois"): {"": ("loss_cls", "loss_box_reg", "neck.")},
    ("retinanet", "hierarchical_shot"): {f"step{n}": (f"loss_cls{n}", f"loss_reg{n}", "stem.") for n in (1, 2)},
}


def losses_of(name, *remedies, words=()):
    small = ["model.backbone.widths=[8,8,16,16,16]", "model.neck.channels=16"]
    cfg = load_config(f"baselines/{name}_shapes", list(remedies), [*small, *words])
    cfg.model.num_classes = 3
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    return model, model(*testing.batch(3, 1, size=96))[0]


@pytest.mark.parametrize("case", CASES, ids="+".join)
def test_against_the_gradients_by_hand(case):
    """One backward pass for each loss through the whole detector, of which the shared parameters are read."""
    model, losses = losses_of(*case)
    wanted = {}
    for point, (cls_name, box_name, where) in CASES[case].items():
        for kind, name in (("cls", cls_name), ("box", box_name)):
            model.zero_grad()
            losses[name].backward(retain_graph=True)
            squares = [
                p.grad.square().sum() for n, p in model.named_parameters() if n.startswith(where) and p.grad is not None
            ]
            assert len(squares) > 1
            wanted[f"balance/{point}_{kind}" if point else f"balance/{kind}"] = sum(squares).sqrt().item()
    found = {key: norm.item() for key, norm in gradient_norms(model, losses).items()}
    assert found == pytest.approx(wanted, rel=1e-4) and min(wanted.values()) > 0


def test_the_ratio_follows_the_weight_of_the_box_loss():
    """Weight 5 in place of 1: five times the ratio, whatever the losses' values."""
    ratios = []
    for weight in (1, 5):
        words = [f"model.roi_heads.criterion.regression_weight={weight}"]
        norms = gradient_norms(*losses_of("faster_rcnn", words=words))
        ratios.append(box_over_cls({key: float(norm) for key, norm in norms.items()})["balance/box_over_cls"])
    assert ratios[1] == pytest.approx(5 * ratios[0], rel=1e-4)


def test_it_changes_no_gradient():
    gradients = []
    for wanted in (False, True):
        model, losses = losses_of("faster_rcnn")
        if wanted:
            gradient_norms(model, losses)
        sum(losses.values()).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_ratios_of_scalars():
    """Stages keep their names, what is no norm stays, and a classification without gradient gives nothing."""
    scalars = {"loss/cls": 1.0, "balance/stage0_cls": 2.0, "balance/stage0_box": 3.0}
    assert box_over_cls(scalars) == {"loss/cls": 1.0, "balance/stage0_box_over_cls": 1.5}
    assert box_over_cls({"balance/cls": 0.0, "balance/box": 3.0}) == {}


def test_nothing_shared_that_learns_and_a_model_of_another_kind():
    model, losses = losses_of("retinanet")
    model.neck.requires_grad_(False)
    assert gradient_norms(model, losses) == {} == gradient_norms(torch.nn.Linear(1, 1), losses)
    model.neck.requires_grad_(True)
    norms = gradient_norms(model, {name: loss.detach() for name, loss in losses.items()})
    assert {key: norm.item() for key, norm in norms.items()} == {"balance/cls": 0, "balance/box": 0}
