"""Targets and remedies that have moved: what saved configs and plans name by the old name, so that older runs load,
resume and compare.
"""

import re
from typing import Any

#: module of before -> where its classes are now
MOVED = {
    f"imbdet.modeling.{name}": "imbdet.modeling.defaults"
    for name in (
        "classification",
        "matching",
        "normalizers",
        "objective",
        "region_features",
        "region_sampling",
        "regression",
    )
}
_TRANSFORMER = "imbdet.remedies.class_fg_bg.adversarial_spatial_transformer"
#: class of before -> its name now
RENAMED = {f"{_TRANSFORMER}.LocalisationNetwork": f"{_TRANSFORMER}.LocalizationNetwork"}


def present_name(target: str) -> str:
    """Return the present name of a `_target_`."""
    target = RENAMED.get(target, target)
    module, _, name = target.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else target


def present_remedy(name: str) -> str:
    """Return the present name of a remedy: controls were files of the checkout, wherever that was."""
    return re.sub(r"^(.*/)?docs/results/controls/(\w+)\.py$", r"controls/\2", name)


def with_present_names(content: Any) -> Any:
    """Return plain containers of a config, a plan or a record with every `_target_` and remedy by its name of today."""
    if isinstance(content, dict):
        found = {key: with_present_names(value) for key, value in content.items()}
        if isinstance(found.get("_target_"), str):
            found["_target_"] = present_name(found["_target_"])
        if isinstance(found.get("remedies"), list):
            found["remedies"] = [present_remedy(name) if isinstance(name, str) else name for name in found["remedies"]]
        return found
    return [with_present_names(item) for item in content] if isinstance(content, list) else content
