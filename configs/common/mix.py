"""What remedies of the slot `mix` have in common."""

from imbdet.config import LazyCall as L
from imbdet.data.mixing import images_in_training

images = L(images_in_training)(
    iterations="${train.max_iter}",
    batch_size="${dataloader.train.batch_size}",
    accumulate="${train.accumulate}",
)
