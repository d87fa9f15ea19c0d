"""Which errors are the user's mistake, told in one line, and which are ours."""

import traceback
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

_PACKAGE = Path(__file__).resolve().parent


def is_users_mistake(error: BaseException) -> bool:
    """Return whether one line tells it all: a file that cannot be used, a part that cannot be built from its config, or
    an error that this package raised on purpose.

    A ValueError out of torch or another library says little without its traceback, so it does not count.
    """
    if isinstance(error, (OSError, OmegaConfBaseException)) or hasattr(error, "config_path"):
        return True
    return isinstance(error, (ValueError, ImportError, FloatingPointError)) and _raised_here(error)


def _raised_here(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    last = Path(frames[-1].filename)
    return last.is_relative_to(_PACKAGE) or "importlib" in str(last)
