"""Numbers about a step, read from the device only on the iterations that report.

Between two reports nothing here waits: losses are kept as detached tensors and the `stats` of a step are dropped
unread. A report reads each of them once. Letters: R regions of the batch, P positives, K classes, L levels.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..modeling.boxes import paired_iou
from ..structures import Picture, RegionStats

GROUPS = ("rare", "common", "frequent")
IOU_EDGES = [0.5 + 0.05 * i for i in range(11)]  #: 10 bins; what lies below 0.5 is reported as a share


class NonFiniteLoss(FloatingPointError):
    """A loss became NaN or infinite. `iteration`, `losses` (name -> value), `image_ids` say where."""

    def __init__(self, iteration: int, losses: dict[str, float], image_ids: list[int]):
        self.iteration, self.losses, self.image_ids = iteration, losses, image_ids
        shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        super().__init__(
            f"the loss is not finite at iteration {iteration}: {shown}\n"
            f"  images of this process in that batch (image_id): {image_ids}\n"
            "  The three usual causes:\n"
            "  1. the learning rate is too high, or the warm-up too short: try optimizer.lr at a tenth;"
            " train.clip_grad.max_norm limits one bad step\n"
            "  2. a box without area or with NaN in one of these images: run tools/check_data.py on the annotations\n"
            "  3. numbers outside the range of float16: train.amp.enabled=false, or train.amp.dtype=bfloat16"
        )


def loss_tag(name: str) -> str:
    """Map loss_rpn_cls -> loss/rpn_cls."""
    return "loss/" + name.removeprefix("loss_")


class LossWindow:
    """The losses of the iterations since the last report.

    On a CPU each iteration is checked at once, before its gradient is used. On a GPU that would make the host wait
    every step, so the check comes with the report (and before each checkpoint) and finds the first bad iteration in
    the window.
    """

    def __init__(self, device: torch.device):
        self.device, self.immediate = device, device.type == "cpu"
        self.entries: deque[tuple[int, dict[str, Tensor], list[int]]] = deque()

    def add(self, iteration: int, losses: dict[str, Tensor], image_ids: list[int]) -> None:
        """Add the losses: scalars of one batch, by name. Raises NonFiniteLoss on a CPU."""
        self.entries.append((iteration, {name: loss.detach() for name, loss in losses.items()}, image_ids))
        if self.immediate and not all(bool(torch.isfinite(loss)) for loss in losses.values()):
            self.check()

    def check(self) -> Tensor:
        """Wait for the device once; the values (entries, losses), float64 on the CPU. Raises NonFiniteLoss."""
        names = self.names()
        if not self.entries:
            return torch.zeros(0, 0, dtype=torch.float64)
        rows = [torch.stack([losses[name].float().to(self.device) for name in names]) for _, losses, _ in self.entries]
        values = torch.stack(rows).cpu().double()
        bad = (~torch.isfinite(values)).any(dim=1).nonzero().flatten().tolist()
        if bad:
            iteration, _, image_ids = self.entries[bad[0]]
            raise NonFiniteLoss(iteration, dict(zip(names, values[bad[0]].tolist(), strict=True)), image_ids)
        return values

    def state_dict(self) -> dict:
        """Return so that a run stopped between two reports makes the same next report. Waits once. Raises
        NonFiniteLoss.
        """
        values = self.check()
        batches = [(iteration, image_ids) for iteration, _, image_ids in self.entries]
        return {"names": self.names(), "values": values, "batches": batches}

    def load_state_dict(self, state: dict) -> None:
        self.entries.clear()
        for (iteration, image_ids), values in zip(state["batches"], state["values"].float(), strict=True):
            self.entries.append((iteration, dict(zip(state["names"], values, strict=True)), image_ids))

    def names(self) -> list[str]:
        return list(self.entries[0][1]) if self.entries else []

    def read(self) -> dict[str, float]:
        """Return the mean of each loss and of their sum over the window, which starts anew. Raises NonFiniteLoss."""
        names, values = self.names(), self.check()
        self.entries.clear()
        means = {loss_tag(name): value for name, value in zip(names, values.mean(dim=0).tolist(), strict=True)}
        return {"loss/total": sum(means.values()), **means}


def read_stats(stats: dict[str, Any], groups: Tensor | None) -> tuple[dict[str, float], dict[str, dict]]:
    """Map the stats of one step -> scalars, histograms (see RunLog.write).

    stats: name -> scalar tensor or RegionStats; pictures are for `read_pictures`. groups: (K,) int64, 0 rare, 1 common,
    2 frequent, or None.
    """
    scalars: dict[str, float] = {}
    histograms: dict[str, dict] = {}
    for name, value in stats.items():
        if isinstance(value, RegionStats):
            who = name.replace("regions", "").strip("/._")  # "rpn/regions" -> tags like positives/rpn_per_image
            more, bins = region_scalars(value, groups)
            rename = (lambda tag, who=who: tag.replace("/", f"/{who}_", 1)) if who else str
            scalars.update({rename(tag): number for tag, number in more.items()})
            histograms.update({rename(tag): counted for tag, counted in bins.items()})
        elif isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
            scalars[name if "/" in name else f"stats/{name}"] = float(value)
    return scalars, histograms


def read_pictures(stats: dict[str, Any]) -> dict[str, Callable[[], Tensor]]:
    """Map the pictures of one step: tag -> a call that draws uint8 (3, H, W)."""
    return {f"pictures/{name}": value.draw for name, value in stats.items() if isinstance(value, Picture)}


@torch.no_grad()
def region_scalars(stats: RegionStats, groups: Tensor | None) -> tuple[dict[str, float], dict[str, dict]]:
    """Return what one criterion saw: positives per image and level, IoU before and after regression, who makes the
    loss.
    """
    matched = stats.matched
    index = matched.foreground.nonzero().flatten()  # waits for the device; this is a reporting iteration
    positives = matched.take(index)
    scalars = {"positives/per_image": len(positives) / max(1, matched.num_images)}
    levels = positives.levels.cpu()
    for level in range(int(matched.levels.max()) + 1 if len(matched) else 0):
        scalars[f"positives/level_{level}"] = float((levels == level).sum()) / max(1, matched.num_images)
    scalars.update(_loss_shares(stats, groups))

    histograms = {}
    if len(positives):
        after = stats.box_coder.decode(stats.deltas[index].float(), positives.boxes)
        for when, iou in (("before", positives.iou), ("after", paired_iou(after, positives.targets))):
            iou = iou.float().cpu()
            counts = torch.histc(iou.clamp(max=1.0), bins=10, min=0.5, max=1.0)  # leaves out what is below 0.5
            histograms[f"iou/{when}"] = {"edges": IOU_EDGES, "counts": counts.int().tolist()}
            scalars[f"iou/{when}_mean"] = iou.mean().item()
            scalars[f"iou/{when}_below_0.5"] = (iou < 0.5).float().mean().item()
    return scalars, histograms


def _loss_shares(stats: RegionStats, groups: Tensor | None) -> dict[str, float]:
    """Share of the classification loss on background, on foreground and, where the classes are the data's, on each
    group.
    """
    labels, k = stats.matched.labels.cpu(), stats.matched.num_classes
    values = stats.classification.detach().double().cpu()
    # One sum per label: -1 ignored, 0..K-1 classes, K background.
    sums = torch.zeros(k + 2, dtype=torch.float64).index_add_(0, labels + 1, values)[1:]
    total = sums.sum().item()
    if total == 0:
        return {}
    shares = {"share/background": sums[k].item() / total, "share/foreground": sums[:k].sum().item() / total}
    if groups is not None and len(groups) == k and k > 1:
        for number, name in enumerate(GROUPS):
            shares[f"share/{name}"] = sums[:k][groups == number].sum().item() / total
    return shares
