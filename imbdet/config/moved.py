"""Targets that have moved: what saved configs name by the old name, so that older runs load, resume and compare."""

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


def with_present_names(content: Any) -> Any:
    """Return plain containers of a config with every `_target_` by its name of today."""
    if isinstance(content, dict):
        return {
            key: present_name(value) if key == "_target_" and isinstance(value, str) else with_present_names(value)
            for key, value in content.items()
        }
    return [with_present_names(item) for item in content] if isinstance(content, list) else content
