"""Write the three files of a new remedy, which pass the tests from the start.

Notable: new_remedy.yaml has a small working filler for each slot; with strength=0 it is what the baseline has there.
"""

import datetime
import keyword
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import make_parser, parse

EXAMPLE = "imbdet new_remedy rare_first --slot weighting --imbalance class_fg_fg"

CLASS = '''"""{title}: say in one line what it does to which imbalance.

Letters: {letters}.
"""

{imports}

class {name}({bases}):
    """Does what {parent} does, changed by `strength`.

    Slot: {slot}
    Imbalance: {imbalance}
    Home: {home}
    Source: not published, {year}
    Neutral: {name}(strength=0), which equals {equal}
    Differs: nothing

    The formula stands here, with the letters of the first lines.

    Args:
        strength: 0..1 exclusive; 0 changes nothing.

    Example:
        >>> {name}({example}strength=0.5).strength
        0.5
    """

{init}
{super}        if not 0 <= strength < 1:
            raise ValueError(f"strength must be in 0..1 exclusive, got {{strength}}")
        self.strength = strength

{code}'''

CONFIG = '''"""{title}: say in one line what changes.

Expect ...: which number rises, and at what cost.
"""

{imports}

baseline = "baselines/{detector}_shapes"
{top}

def apply(cfg):
{apply}
'''

TEST = '''"""{title}: neutral equals the baseline; add a number by hand, a naive loop, and the mechanism."""

{imports}

def run({arguments}):
{run}

def test_neutral_equals_the_baseline():
    assert torch.equal({neutral}, {plain})


def test_strength_changes_it():
    assert not torch.equal({changed}, {plain})


@pytest.mark.parametrize("strength", [-0.1, 1.0])
def test_bad_settings(strength):
    with pytest.raises(ValueError, match="strength must be in 0..1"):
        {bad}
'''


def main(argv: Sequence[str] | None = None) -> int:
    import yaml

    from imbdet.remedies import index
    from imbdet.slots import SLOTS

    parser = make_parser("new_remedy", "Write class, config and test of a new remedy into a checkout.", EXAMPLE)
    parser.add_argument("name", help="of the files, e.g. rare_first; unique over all remedies")
    parser.add_argument("--slot", required=True, choices=list(SLOTS), metavar="S", help=f"one of {', '.join(SLOTS)}")
    parser.add_argument(
        "--imbalance",
        required=True,
        choices=index.IMBALANCES,
        metavar="I",
        help=f"one of {', '.join(index.IMBALANCES)}",
    )
    parser.add_argument("--root", default=".", metavar="DIR", help="the checkout to write into (default: here)")
    args = parse(parser, argv)
    root = Path(args.root)
    parts = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))[args.slot]
    paths = _paths(root, args.name, args.imbalance)
    for path, text in zip(paths, _texts(args.name, args.slot, args.imbalance, parts), strict=True):
        path.write_text(text, encoding="utf-8")
        print(path)
    print(f"Then: python tools/list_remedies.py --write; imbdet remedy {args.name} shows how to test it.")
    return 0


def _paths(root: Path, name: str, imbalance: str) -> list[Path]:
    """The three files, which must not be there, in folders that must."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or name.startswith("_"):
        raise ValueError(f"a remedy is named as a Python file, in small letters, such as rare_first; got {name!r}")
    paths = [
        root / "imbdet" / "remedies" / imbalance / f"{name}.py",
        root / "configs" / "remedies" / imbalance / f"{name}.py",
        root / "tests" / "remedies" / imbalance / f"test_{name}.py",
    ]
    if not paths[0].parent.is_dir() or not (root / "configs" / "common").is_dir():
        raise ValueError(
            f"{root.resolve()} is not a checkout of imbdet: it lacks imbdet/remedies/{imbalance} or configs"
        )
    taken = [
        path.relative_to(root).as_posix()
        for top in ("imbdet", "configs", "tests", "tools", "docs")
        for path in (root / top).rglob("*.py")
        if path.name in (f"{name}.py", f"test_{name}.py")
    ]
    if taken:
        raise ValueError(f"the name {name!r} is taken by {', '.join(sorted(taken))}; a remedy's name must be unique")
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def _texts(name: str, slot: str, imbalance: str, parts: dict[str, Any]) -> tuple[str, str, str]:
    """Class, config and test as text."""
    camel = "".join(word.capitalize() for word in name.split("_"))
    title, module = name.replace("_", " ").capitalize(), parts.get("module", False)
    empty = parts.get("plain") == "run(None)"  # the baseline has nothing in this slot
    above = f"super().__init__({parts.get('super', '')})\n" if "super" in parts or module else ""

    def filled(text: str) -> str:
        return text.replace("Here", camel).replace("loss_here", f"loss_{name}").rstrip()

    text = CLASS.format(
        title=title,
        letters=parts["letters"],
        imports=parts["imports"],
        name=camel,
        bases=f"nn.Module, {parts['parent']}" if module else parts["parent"],
        parent="the empty slot" if empty else parts["parent"],
        slot=slot,
        imbalance=imbalance,
        home=parts["home"],
        year=datetime.date.today().year,
        equal="the empty slot" if empty else parts["parent"],
        example=f"{parts['example']} " if "example" in parts else "",
        init=_constructor([*parts.get("init", []), "strength: float = 0.0", *parts.get("more", [])]),
        super=f"        {above}" if above else "",
        code=_indented(filled(parts["code"])),
    )
    own = f"imbdet.remedies.{imbalance}.{name} import {camel}"
    text = text.replace(f">>> {camel}(", f">>> from {own}\n        >>> {camel}(")
    apply = filled(parts["apply"])
    names = [word for word in ("criterion_of", "rebuilt") if word in apply]
    imports = ["from imbdet.config import LazyCall as L"] if "L(" in apply else []
    imports += [f"from imbdet.config import {', '.join(names)}"] if names else []
    config = CONFIG.format(
        title=title,
        imports="\n".join([*imports, f"from {own}"]),
        detector="retinanet" if parts["home"] == "retinanet" else "faster_rcnn",
        top=f"\n{parts['apply_top']}\n" if "apply_top" in parts else "",
        apply=_indented(apply),
    ).replace("\n\n\n\ndef", "\n\n\ndef")
    return f"{text}\n", config, _test(parts, title, camel, own)


def _constructor(arguments: list[str]) -> str:
    """The first line of `__init__`, or one line an argument where it would be too long."""
    line = f"    def __init__(self, {', '.join(arguments)}):"
    rows = "".join(f"        {argument},\n" for argument in ["self", *arguments])
    return line if len(line) <= 120 else f"    def __init__(\n{rows}    ):"


def _test(parts: dict[str, Any], title: str, camel: str, own: str) -> str:
    whole, new = parts.get("whole", False), parts.get("new", "")
    before = f"{new}, " if new else ""
    imports = _sorted_imports(parts, own)
    if whole:
        made = {key: f"run({camel}, strength={value})" for key, value in (("neutral", 0.0), ("changed", 0.5))}
        made |= {"plain": "run()", "bad": f"run({camel}, strength=strength)"}
    else:
        made = {key: f"run({camel}({before}strength={value}))" for key, value in (("neutral", 0.0), ("changed", 0.5))}
        made |= {
            "plain": parts.get("plain", f"run({parts['parent']}({new}))"),
            "bad": f"{camel}({before}strength=strength)",
        }
    arguments = "kind=None, **settings" if whole else "filler"
    return TEST.format(
        title=title, imports=imports, arguments=arguments, run=_indented(parts["run"].rstrip()) + "\n", **made
    )


def _sorted_imports(parts: dict[str, Any], own: str) -> str:
    """The imports of the test in ruff's order."""
    lines = [*parts.get("run_imports", "").split("\n"), "import pytest", "import torch", f"from {own}"]
    if "plain" not in parts and not parts.get("whole"):
        where = next(line for line in parts["imports"].split("\n") if line.endswith(f"import {parts['parent']}"))
        lines.append(where.replace("from ...", "from imbdet."))
    lines = [line for line in lines if line]
    ours = sorted(line for line in lines if " imbdet" in line)
    standard = [line for line in lines if line.split()[1].split(".")[0] in ("itertools", "types")]
    others = sorted(set(lines) - set(ours) - set(standard), key=lambda line: line.split()[1])
    return "\n\n".join("\n".join(block) for block in (standard, others, ours) if block) + "\n"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line.strip() else "" for line in text.split("\n"))
