"""A detector of a few hundred parameters and a loader of noise, for tests of the engine; importable by
`instantiate`.
"""

import time

import torch
from omegaconf import OmegaConf
from torch import nn

from imbdet.config import LazyCall as L
from imbdet.config import apply_overrides
from imbdet.engine.log import read_metrics
from imbdet.engine.optimizer import get_default_optimizer_params
from imbdet.engine.schedule import CosineParamScheduler, WarmupParamScheduler


class FakeDetector(nn.Module):
    """Two convolutions that regress the mean box of an image; draws from torch's generator as a region sampler
    would.
    """

    def __init__(self, channels=4, noise=True, batch_norm=True, poison_at=None):
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, stride=4)
        self.norm = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.head = nn.Linear(channels, 4)
        self.noise, self.poison_at, self.calls = noise, poison_at, 0

    def forward(self, images, targets=None):
        x = torch.stack([image[:, :16, :16] for image in images]).to(self.head.weight) / 255
        x = torch.relu(self.norm(self.first(x)))
        if self.training and self.noise:
            x = x * (torch.rand(x.shape[:2], device=x.device) < 0.5)[..., None, None]
        boxes = self.head(x.mean(dim=(2, 3)))
        if not self.training:
            one = torch.ones(1, device=x.device)
            return [{"boxes": b[None].abs().cumsum(1), "scores": one, "labels": one.long() * 0} for b in boxes]
        self.calls += 1
        centers = [target["boxes"].mean(dim=0) if len(target["boxes"]) else torch.zeros(4) for target in targets]
        wanted = torch.stack(centers).to(boxes) / 16
        error = (boxes - wanted).square()
        loss = error.mean() * (float("nan") if self.calls == self.poison_at else 1.0)
        return {"loss_box": loss, "loss_size": 0.1 * boxes.square().mean()}, {"mean_error": error.detach().mean()}


class FakeLoader:
    """Batch k is a function of (seed, k, rank, world_size); images are noise of 16x16 pixels. pause: seconds a
    batch.
    """

    def __init__(self, batch_size=4, seed=0, pause=0.0, num_workers=0, records=None):
        self.batch_size, self.seed, self.pause, self.epoch_length = batch_size, seed, pause, 8
        if records is not None:
            self.records = records

    def iterate(self, start=0, rank=0, world_size=1):
        torch.rand(1)  # as a DataLoader does when it starts its workers
        k = start
        while True:
            generator = torch.Generator().manual_seed(1000 * self.seed + k)
            images = torch.randint(0, 256, (self.batch_size, 3, 16, 16), generator=generator, dtype=torch.uint8)
            corners = torch.rand(self.batch_size, 2, 4, generator=generator) * 8
            corners[..., 2:] += 8
            mine = range(rank, self.batch_size, world_size)
            labels = torch.zeros(2, dtype=torch.int64)
            targets = [{"boxes": corners[i], "labels": labels, "image_id": 100 * k + i} for i in mine]
            time.sleep(self.pause)
            yield [images[i] for i in mine], targets
            k += 1


def fake_config(output_dir, *overrides):
    """A whole config without data; 12 iterations."""
    cfg = OmegaConf.create(
        dict(
            model=L(FakeDetector)(channels=4, noise=True, batch_norm=True, poison_at=None),
            dataloader=dict(train=L(FakeLoader)(batch_size=4, seed="${train.seed}", pause=0.0, num_workers=0)),
            optimizer=L(torch.optim.AdamW)(params=L(get_default_optimizer_params)(weight_decay_norm=0.0), lr=0.01),
            lr_multiplier=L(WarmupParamScheduler)(
                scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.0),
                warmup_factor=0.1,
                warmup_length=4,
                num_updates="${train.max_iter}",
            ),
            train=dict(
                output_dir=str(output_dir),
                overwrite=False,
                init_checkpoint="",
                init_strict=True,
                max_iter=12,
                device="cpu",
                seed=3,
                num_threads=1,
                amp=dict(enabled=False, dtype="bfloat16"),
                ema=dict(enabled=True, decay=0.9),
                clip_grad=dict(max_norm=1.0),
                accumulate=1,
                reference_batch=0,
                eval_period=0,
                log_period=2,
                checkpointer=dict(period=4, max_to_keep=2),
                tensorboard=False,
                best_metric="AP",
                early_stopping=dict(patience=0),
                val_loss_batches=2,
                val_pictures=2,
            ),
        )
    )
    OmegaConf.set_struct(cfg, True)
    apply_overrides(cfg, overrides)
    return cfg


def numbers(folder):
    """All lines of metrics.jsonl without times and memory."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]


def compare(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            compare(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            compare(x, y, f"{where}[{i}]")
    else:
        assert a == b, where
