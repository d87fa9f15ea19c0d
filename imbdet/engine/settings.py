"""`cfg.train` as a checked, typed object: every key the engine reads, its default and its range, in one place."""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from omegaconf import OmegaConf

from ..config import instantiate


@dataclass
class Amp:
    """Mixed precision. dtype: "float16" (with loss scaling) or "bfloat16"."""

    enabled: bool = False
    dtype: str = "float16"


@dataclass
class Ema:
    """Averaged weights, which are then what is evaluated. decay: 0..1 a step."""

    enabled: bool = False
    decay: float = 0.999


@dataclass
class ClipGrad:
    """max_norm: largest L2 norm of all gradients together; 0 is off."""

    max_norm: float = 0.0


@dataclass
class Checkpointer:
    """period: iterations between saves. max_to_keep: periodic saves that keep a name of their own."""

    period: int = 500
    max_to_keep: int = 0


@dataclass
class EarlyStopping:
    """patience: evaluations without a new best before the run ends; 0 is off."""

    patience: int = 0


@dataclass
class Settings:
    """The keys of `cfg.train`; the comments in configs/common/train.py say what they are for. Counts are in
    iterations.
    """

    output_dir: str = "output/run"
    overwrite: bool = False
    init_checkpoint: str = ""
    init_strict: bool = True
    init_classes: Any = ""
    init_shared: str = ""
    freeze: list = field(default_factory=list)
    reset: list = field(default_factory=list)
    max_iter: int = 600
    time: str = ""
    batch_size: str = ""
    device: str = "auto"
    seed: int = 0
    num_threads: int = 0
    amp: Amp = field(default_factory=Amp)
    ema: Ema = field(default_factory=Ema)
    clip_grad: ClipGrad = field(default_factory=ClipGrad)
    accumulate: int = 1
    reference_batch: int = 0
    compile: bool = False
    channels_last: bool = False
    find_unused_parameters: bool = False
    eval_period: int = 0
    log_period: int = 20
    checkpointer: Checkpointer = field(default_factory=Checkpointer)
    best_metric: str = "AP"
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    tensorboard: bool = True
    loggers: list = field(default_factory=list)
    val_loss_batches: int = 4
    val_pictures: int = 4


#: smallest allowed value of the numbers
LEAST = {
    "max_iter": 1,
    "log_period": 1,
    "accumulate": 1,
    "seed": 0,
    "num_threads": 0,
    "eval_period": 0,
    "reference_batch": 0,
    "val_loss_batches": 0,
    "val_pictures": 0,
    "checkpointer.period": 1,
    "checkpointer.max_to_keep": 0,
    "early_stopping.patience": 0,
    "clip_grad.max_norm": 0,
    "ema.decay": 0,
}


def read_settings(cfg: Any) -> Settings:
    """Read `cfg.train` (missing keys take their defaults). Raises ValueError with the key, its value and what would be
    right.
    """
    given = {key: instantiate(cfg.train[key]) for key in cfg.train} if "train" in cfg else {}
    given = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in given.items()}
    names = given.pop("init_classes", None) or ""
    if not isinstance(names, (str, list)):
        raise ValueError(f"train.init_classes is {names!r}; it must be a list of names, a file of them, or coco")
    settings = _read(Settings, given, "")
    settings.init_classes = names
    if settings.amp.dtype not in ("float16", "bfloat16"):
        raise ValueError(f"train.amp.dtype is {settings.amp.dtype!r}; use 'float16' or 'bfloat16'")
    return settings


def _read(kind: type, given: dict, prefix: str) -> Any:
    values = {}
    for item in fields(kind):
        key, default = prefix + item.name, item.default_factory() if callable(item.default_factory) else item.default
        value = given.get(item.name, default)
        if is_dataclass(default):
            if not isinstance(value, (dict, type(default))):
                raise ValueError(
                    f"train.{key} is {value!r}; it has the keys {', '.join(f.name for f in fields(default))}"
                )
            values[item.name] = _read(type(default), value, f"{key}.") if isinstance(value, dict) else value
        else:
            values[item.name] = _checked(value, default, key)
    return kind(**values)


def _checked(value: Any, default: Any, key: str) -> Any:
    if value is None and not isinstance(default, str):
        value = default if isinstance(default, (bool, list)) else type(default)(0)
    kind = type(default)
    wanted = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list of texts such as [backbone, '!*.bias']",
    }[kind]
    fits = {
        bool: isinstance(value, bool),
        int: not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value),
        float: not isinstance(value, bool) and isinstance(value, (int, float)),
        str: isinstance(value, str) or value is None,
        list: isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value),
    }[kind]
    if not fits:
        raise ValueError(f"train.{key} is {value!r}; it must be {wanted}")
    least = LEAST.get(key)
    if least is not None and value < least:
        raise ValueError(f"train.{key} is {value}; it must be {least} or more")
    return kind(value) if value is not None else ""
