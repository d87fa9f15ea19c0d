"""The objects of a run, made from its config, and their state."""

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..config import instantiate
from ..modeling.rest import adversaries_of
from ..modeling.trainable import entries_to_reset
from .adversaries import Adversaries
from .checkpoint import Checkpoints
from .distributed import World
from .ema import ModelEma
from .environment import computes_bfloat16
from .log import NoLog, RunLog
from .meters import LossWindow
from .optimizer import Clipping, scale_learning_rate
from .origin import training_records
from .progress import Progress
from .schedule import Schedule
from .seed import rng_state, set_rng_state
from .settings import Settings
from .stop import StopRequest, signals_blocked
from .weights import initialize, refuse_random, share


@dataclass
class Best:
    """The best evaluation so far, and the newest one. value is None before the first."""

    value: float | None = None
    iteration: int = 0
    evaluated: int = 0
    waited: int = 0  # evaluations since the best one, for early stopping


@dataclass(kw_only=True)
class Built:
    """What a config makes. `model` is the bare detector, `parallel` the one to call in training.

    rng: generators to be restored when the loader has started.
    """

    settings: Settings
    world: World
    model: nn.Module
    parallel: nn.Module
    parameters: list[Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    ema: ModelEma | None
    window: LossWindow
    clipping: Clipping
    adversaries: Adversaries
    train_loader: Any
    val_loader: Any
    train_records: Any
    val_records: Any
    best: Best = field(default_factory=Best)
    rng: dict | None = None

    @property
    def device(self) -> torch.device:
        return self.world.device

    @property
    def has_val(self) -> bool:
        return self.val_loader is not None

    @property
    def windows(self) -> list[LossWindow]:
        """Of the detector's iterations, and of the steps in which it rests."""
        return [self.window, self.adversaries.window]

    def autocast(self) -> Any:
        amp = self.settings.amp
        return torch.autocast(self.device.type, dtype=getattr(torch, amp.dtype), enabled=amp.enabled)

    def batches(self, start: int) -> Iterator[tuple[list, list]]:
        """Yield batches from iteration `start` (0-based) on, after those that adversaries learned from alone.

        Starting loader workers draws from torch's generator, so a resumed run restores the generators after the first
        batch.
        """
        loader = self.train_loader.iterate(
            start=(start + self.adversaries.steps) * self.settings.accumulate,
            rank=self.world.rank,
            world_size=self.world.size,
        )
        iterator = iter(loader)
        with signals_blocked():
            first = next(iterator)
        if self.rng is not None:
            set_rng_state(self.rng)
        return itertools.chain([first], iterator)

    @contextlib.contextmanager
    def evaluated_weights(self) -> Iterator[None]:
        """Hold in the model, inside a `with`, what is evaluated and kept as best.pth: the average if there is one."""
        with self.ema.applied() if self.ema else contextlib.nullcontext():
            yield

    def load(self, state: dict[str, Any]) -> int:
        """Restore what `state` returned; return the iteration. The generators are restored by `batches`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.clipping.load_state_dict(state["clipping"])
        self.adversaries.load_state_dict(state["adversaries"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.best = Best(**state["best"])
        if len(state["rng"]) == self.world.size:
            self.rng = state["rng"][self.world.rank]
            for window, saved in zip(self.windows, state["window"][self.world.rank], strict=True):
                window.load_state_dict(saved)
        else:
            warnings.warn(
                f"the run had {len(state['rng'])} processes and now has {self.world.size}: it continues with other"
                " random numbers and other shards, so it will not be what it would have been",
                stacklevel=2,
            )
        return state["iteration"]


@dataclass(kw_only=True)
class Run(Built):
    """Everything the loop works with: what the config makes, and where the run is written, logged and stopped.

    config: plain. groups: (K,) class group of each label, see meters; None without training data. trained_on: what
    checkpoints carry of the training data and the preprocessing, {} if there is no data.
    """

    config: dict
    groups: Tensor | None
    trained_on: dict
    checkpoints: Checkpoints
    log: RunLog | NoLog
    progress: Progress
    stop: StopRequest

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.close()
        self.log.close()

    @property
    def origin(self) -> dict[str, Any]:
        """What every checkpoint holds beside its weights, so that a model can be built from it alone."""
        return {"config": self.config, "trained_on": self.trained_on or None}

    def state(self, iteration: int) -> dict[str, Any]:
        """Return all state after `iteration` steps. Collective: every process must call it. Raise NonFiniteLoss:
        weights that a NaN has reached are never saved.
        """
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "clipping": self.clipping.state_dict(),
            "adversaries": self.adversaries.state_dict(),
            "iteration": iteration,
            "window": self.world.gather([window.state_dict() for window in self.windows]),
            "rng": self.world.gather(rng_state()),
            "best": vars(self.best).copy(),
            **self.origin,
        }


def build(cfg: Any, settings: Settings, world: World, fresh: bool, say: Any = print) -> Built:
    """Make the loaders, model, optimizer and schedule of `cfg`. fresh: False when a checkpoint follows (no
    init_checkpoint).
    """
    if cfg.get("dataloader") is None:
        raise ValueError("dataloader is null; a training needs dataloader.train")
    train_loader = instantiate(cfg.dataloader.train)
    val_loader = instantiate(cfg.dataloader.val) if cfg.dataloader.get("val") is not None else None
    model = instantiate(cfg.model)
    anew = entries_to_reset(model, settings.reset)
    if fresh:
        initialize(model, settings, getattr(training_records(cfg), "class_names", ()), say, anew)
        trained = share(model, settings.init_shared, say)
        model.load_state_dict(anew, strict=False)
        if anew:
            say(f"train.reset: {len(anew)} entries keep their initial values: {', '.join(anew)}")
    model.accumulate = settings.accumulate
    if settings.freeze:
        model.freeze(settings.freeze)
        if fresh and not settings.init_checkpoint:
            refuse_random(model, trained)
    model.to(world.device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    if settings.compile:
        getattr(model, "backbone", model).compile()  # in place: names in the state dict stay
    _warn_of_slow_switches(settings, world.device)
    model.train()

    against = adversaries_of(model)
    theirs = [p for adversary in against for p in adversary.parameters() if p.requires_grad]
    optimizer = _optimizer(cfg, model, without=theirs)
    optimizers = [optimizer, *([_optimizer(cfg, nn.ModuleList(against))] if theirs else [])]
    batch = int(cfg.dataloader.train.get("batch_size", 0)) * settings.accumulate
    factor = [scale_learning_rate(one, batch, settings.reference_batch) for one in optimizers][0]
    if factor != 1:
        rates = sorted({group["lr"] for group in optimizer.param_groups})
        say(
            f"learning rate x {factor:g} by the linear scaling rule: {batch} images a step, written for"
            f" {settings.reference_batch}; now {', '.join(f'{rate:g}' for rate in rates)}"
        )
    float16 = settings.amp.enabled and settings.amp.dtype == "float16"
    return Built(
        settings=settings,
        world=world,
        model=model,
        parallel=world.wrap(model, settings.find_unused_parameters),
        parameters=[p for group in optimizer.param_groups for p in group["params"]],
        optimizer=optimizer,
        schedule=Schedule(optimizer, instantiate(cfg.lr_multiplier), settings.max_iter),
        scaler=torch.amp.GradScaler(world.device.type, enabled=float16),
        ema=ModelEma(model, settings.ema.decay) if settings.ema.enabled else None,
        window=LossWindow(world.device),
        clipping=Clipping(settings.clip_grad.max_norm, world.device),
        adversaries=Adversaries(against, optimizers[1] if theirs else None, settings.clip_grad.max_norm, world.device),
        train_loader=train_loader,
        val_loader=val_loader,
        train_records=getattr(train_loader, "records", None),
        val_records=getattr(val_loader, "records", None),
    )


def _optimizer(cfg: Any, model: nn.Module, without: Sequence[Tensor] = ()) -> torch.optim.Optimizer:
    """The config's optimizer of what learns in `model`, but for the parameters in `without`."""
    try:
        for parameter in without:
            parameter.requires_grad_(False)
        return instantiate(cfg.optimizer, params=instantiate(cfg.optimizer.params, model=model))
    finally:
        for parameter in without:
            parameter.requires_grad_(True)


def _warn_of_slow_switches(settings: Settings, device: torch.device) -> None:
    if device.type != "cpu":
        return
    fits = settings.amp.dtype == "bfloat16" and computes_bfloat16()
    measured = {
        "train.amp.enabled": (
            settings.amp.enabled and not fits,
            "20 times slower where the processor has no such arithmetic; bfloat16 is faster where it has",
        ),
        "train.compile": (settings.compile, "1.3 times slower"),
        "train.channels_last": (settings.channels_last, "1.3 times slower"),
    }
    for key, (enabled, cost) in measured.items():
        if enabled:
            warnings.warn(f"{key} is a switch for GPUs; on a CPU it was measured {cost}", stacklevel=3)
