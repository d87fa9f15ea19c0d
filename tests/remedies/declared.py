"""The declared defaults of what fills slots, by discovery.

python -m tests.remedies.declared      records them anew in declared.json, where one changes on purpose
"""

import importlib
import inspect
import json
from pathlib import Path

from imbdet.modeling import boxes, defaults
from imbdet.remedies import index

FILE = Path(__file__).with_suffix(".json")


def fillers():
    """{class name: class} of the remedies' modules and of what fills slots without a remedy."""
    modules = {importlib.import_module(entry.target.rpartition(".")[0]) for entry in index.entries()} | {
        boxes,
        defaults,
    }
    found = {}
    for module in modules:
        own = [
            value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        found |= {f"{module.__name__.rsplit('.', 1)[-1]}.{one.__name__}": one for one in own if "__init__" in vars(one)}
    return found


def declared():
    """{class: {parameter: default}}; only numbers, texts, None and tuples of them."""
    found = {}
    for name, one in sorted(fillers().items()):
        parameters = inspect.signature(one).parameters.values()
        kept = {p.name: p.default for p in parameters if p.default is not p.empty}
        plain = {
            key: value for key, value in kept.items() if isinstance(value, (bool, int, float, str, type(None), tuple))
        }
        if plain:
            found[name] = json.loads(json.dumps(plain))
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(declared(), indent=1) + "\n", encoding="utf-8")
