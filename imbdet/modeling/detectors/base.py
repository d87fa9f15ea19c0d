"""What every detector shares: pictures in, padded batch through backbone and neck, losses or detections out.

Letters: N images, M objects, D detections of one image, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...slots import Calibration, Objective
from ...structures import Objects
from ..boxes import clip
from ..defaults import FixedWeights
from ..folding import Folded
from ..necks import FPN
from ..nms import best, limit_at_test, suppress
from ..preprocess import pad_objects
from ..rest import training_step
from ..running_state import running_states
from ..trainable import freeze


class Detector(nn.Module):
    """Base of all detectors; a detector implements `losses` and `candidates`.

    Args:
        preprocess, backbone, neck: see their modules.
        num_classes: K.
        score_threshold: detections below it are left out. nms_threshold: IoU, within a class.
        max_detections: of one image.
        objective: the slot of that name. calibration: the slot of that name, None leaves the scores alone.
        voting: places the detections anew, from all candidates and what stands beside their boxes; None leaves them.

    accumulate: batches of one step of the optimizer; the engine sets it.
    """

    accumulate = 1

    def __init__(
        self,
        preprocess: nn.Module,
        backbone: nn.Module,
        neck: FPN,
        num_classes: int,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
        objective: Objective | None = None,
        calibration: Calibration | None = None,
        voting=None,
    ):
        super().__init__()
        self.preprocess = preprocess
        self.backbone = backbone
        self.neck = neck
        neck.build(backbone)
        self.num_classes = num_classes
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.objective = objective or FixedWeights()
        self.calibration = calibration
        self.voting = voting
        self.folded = Folded(backbone)
        self._frozen_norms: list[nn.Module] = []
        self._batches = 0  # trained on so far in this process

    def forward(self, images: list[Tensor], targets: list[dict] | None = None):
        """images: uint8 RGB (3, H, W) of any sizes; targets: [{"boxes": (m, 4) XYXY, "labels": (m,)}], needed in
        training.

        Returns:
            training: ({name: loss}, stats); the total is the plain sum. eval: [{"boxes", "scores", "labels"}], best
            first, in pixels of the given pictures.
        """
        batch, sizes = self.preprocess(images)
        limits = torch.tensor(sizes).to(batch.device, non_blocking=True)
        if not self.training:
            backbone = self.backbone if torch.is_grad_enabled() else self.folded
            features = self.neck(backbone(batch))
            return self.detect(*self.candidates(features, limits), limits)
        if targets is None or len(targets) != len(images):
            raise ValueError(
                f"training needs one target for each of the {len(images)} images, got {targets and len(targets)}"
            )
        objects = pad_objects(targets, batch.device, self.num_classes)
        self._batches += torch.is_grad_enabled()  # a validation loss is none
        with training_step(self), running_states(self, ends_step=self._batches % self.accumulate == 0):
            losses, stats = self.losses(self.neck(self.backbone(batch)), limits, objects)
            self.objective.build(self.balance_points())
            losses, more = self.objective(losses)
        return losses, {**stats, **more}

    def freeze(self, patterns: Sequence[str]) -> None:
        """Parameters that the patterns choose no longer learn, and batch norms of which none does stay in eval mode.

        Raises:
            ValueError: a pattern that chooses nothing (see `imbdet.modeling.trainable`).
        """
        self._frozen_norms = freeze(self, patterns)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Detector":
        if mode:
            self.folded.forget()
        super().train(mode)
        for norm in self._frozen_norms:
            norm.eval()
        return self

    def balance_points(self) -> dict[str, tuple[str, str, list[nn.Parameter]]]:
        """Where the gradients of the two losses are compared (`balance/box_over_cls`).

        Returns:
            {"", or the stage: (the classification's loss, the box loss, the last parameters that both learn from)}.
        """
        return {}

    def losses(self, features: dict[str, Tensor], sizes: Tensor, objects: Objects) -> tuple[dict[str, Tensor], dict]:
        raise NotImplementedError

    def candidates(self, features: dict[str, Tensor], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> boxes (N, D, 4), scores (N, D), labels (N, D), valid (N, D).

        What `Criterion.decode` puts beside the boxes stays beside them: (N, D, 4 + 4).
        """
        raise NotImplementedError

    def detect(self, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor, sizes: Tensor) -> list[dict]:
        """Candidates of all images -> the best of each after suppression within each class."""
        best_ones = self.chosen(boxes, scores, labels, valid, sizes)
        return [{"boxes": b[k], "scores": s[k], "labels": c[k]} for b, s, c, k in zip(*best_ones, strict=True)]

    def chosen(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Candidates -> the best T of each image: boxes (N, T, 4), scores, labels and whether they are one (N, T)."""
        boxes, beside = boxes[..., :4], boxes[..., 4:]
        index, kept = best(scores, self.suppress(boxes, scores, labels, valid), self.max_detections)
        if self.voting is None:
            found = boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
        else:
            found = self.voting(index, boxes, beside, labels, valid)
        boxes = clip(found, sizes)
        scores, labels = scores.gather(1, index), labels.gather(1, index)
        kept = kept & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        return boxes, scores, labels, kept

    def top(self, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """scores (N, D) -> the best `most` of each image, or fewer if fewer are above the threshold, and their places.

        A long top-k is slow where few scores reach the threshold; at test, waiting for their number is allowed.
        """
        count = int((scores > self.score_threshold).sum(dim=1).amax())
        values, index = scores.topk(min(most, max(1, count)), dim=1)
        return values, index

    def suppress(self, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """Candidates as of `candidates` -> those that stay, (N, D) bool."""
        return suppress(boxes, scores, labels, valid, self.nms_threshold, limit_at_test(boxes))
