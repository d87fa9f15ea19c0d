"""A part of the GPU check whose units break in every way, for the tests of what runs them."""

import os
import time


def units(small: bool) -> list[str]:
    return ["good", "raises", "dies", "hangs", "short", "skipped", "last"]


def run(unit: str, device: str, small: bool) -> dict:
    if unit == "raises":
        raise ValueError("a reason\nwith more lines")
    if unit == "dies":
        os._exit(7)
    if unit == "hangs":
        time.sleep(600)
    return {"good": {"value": 1.5}, "short": {"short": ["too slow"]}, "skipped": {"skipped": "needs a GPU"}}.get(
        unit, {}
    )
