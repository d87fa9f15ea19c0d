"""One module a verb, each with `main(argv=None) -> int`; `imbdet VERB` and `tools/VERB.py` both end here.

This file holds what the verbs share: their parser, the arguments that name a config, and how a user's mistake is told.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

_ORDER = (
    "demo",
    "check_data",
    "diagnose",
    "balance",
    "train",
    "evaluate",
    "predict",
    "export",
    "compare",
    "show_config",
    "list_remedies",
    "remedy",
    "new_remedy",
    "plot_losses",
)


def make_parser(verb: str, description: str, example: str = "") -> argparse.ArgumentParser:
    """The parser of a verb; `example` is printed below its help as it stands."""
    return argparse.ArgumentParser(
        prog=f"imbdet {verb}",
        description=description,
        epilog=f"example:\n  {example.strip()}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_config_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --config (or --config-file), --remedy (repeatable), --print and `key=value` words.

    Read them with `parse(parser, argv)` and `config_from(args)`.
    """
    parser.add_argument(
        "--config",
        "--config-file",
        dest="config",
        required=required,
        metavar="C",
        help="a .py or .yaml file, a run's folder, or a shipped config such as baselines/faster_rcnn_shapes",
    )
    add_remedy_arguments(parser)
    parser.add_argument("--print", action="store_true", help="print what differs from the plain config, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="set single keys, e.g. train.max_iter=100")


def add_remedy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --remedy (repeatable), and --trust for remedies of the user's own."""
    parser.add_argument(
        "--remedy",
        action="append",
        default=[],
        metavar="NAME",
        help="put a remedy on the config; may be given several times (imbdet list_remedies shows them)",
    )
    add_trust_argument(parser)


def add_run_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add --run and --which, the run whose weights are used."""
    parser.add_argument(
        "--run", required=required, metavar="DIR", help="a folder that training wrote, or one of its .pth files alone"
    )
    parser.add_argument("--which", choices=("best", "last"), help="which weights of the run (best, if it has them)")


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add --trust MODULE, which takes effect as it is parsed. Every verb that loads a config or a run has it."""
    parser.add_argument(
        "--trust",
        action=_Trust,
        metavar="MODULE",
        help="let configs and runs name what a module of yours defines, or a .py file; may be given several times",
    )


def add_tiles_argument(parser: argparse.ArgumentParser) -> None:
    """Add --tiles SIZE, a number above 0."""
    parser.add_argument(
        "--tiles",
        type=_size,
        metavar="SIZE",
        help="detect on overlapping tiles and on the whole; SIZE in pixels, or up to 1 as a share of the sides",
    )


def _size(word: str) -> float:
    if not 0 < float(word) < float("inf"):
        raise argparse.ArgumentTypeError(f"{word} must be above 0: pixels, or up to 1 a share of the picture's sides")
    return float(word)


class _Trust(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        from imbdet.config import trust

        trust(values)


class Words(argparse.Action):
    """Of an option that takes several words beside `key=value` words: it leaves those to the overrides."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, [word for word in values if not is_override(word)])
        namespace.left = [*getattr(namespace, "left", ()), *filter(is_override, values)]
        if not getattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "expected at least one argument that is not key=value")


def is_override(word: str) -> bool:
    """Whether a word is `key=value`; a file or folder that exists is one whatever its name."""
    return re.match(r"[A-Za-z_][\w.]*=", word) is not None and not Path(word).expanduser().exists()


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse with options and words in any order (`--config C a=1 --print b=2`), overrides in the order they came in."""
    args, words = parser.parse_intermixed_args(argv), sys.argv[1:] if argv is None else list(argv)
    if left := vars(args).pop("left", []):
        args.overrides = sorted([*args.overrides, *left], key=lambda word: -words[::-1].index(word))  # the last counts
    return args


def config_from(args: argparse.Namespace) -> "DictConfig":
    """The config that the arguments of `add_config_arguments` describe."""
    from imbdet.config import load_config

    return load_config(args.config, args.remedy, args.overrides)


def changes(args: argparse.Namespace, cfg: "DictConfig") -> list[str]:
    """The lines in which `cfg` differs from the plain config: what the remedies and overrides did.

    A remedy's own config is compared with its baseline.
    """
    from imbdet.config import baseline_of, diff, load_config

    return [line for line in diff(load_config(baseline_of(args.config)), cfg) if not line.startswith("remedies")]


def verbs() -> dict[str, str]:
    """{verb: what it does}, from the first line of each module's docstring, without importing it; in order of use."""
    import ast

    found = {}
    paths = Path(__file__).parent.glob("*.py")
    for path in sorted(paths, key=lambda path: (_ORDER.index(path.stem) if path.stem in _ORDER else 99, path.stem)):
        if not path.name.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[path.stem] = text.partition("\n")[0].rstrip(".")
    return found


def run(verb: str, argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code. A user's mistake is one line on stderr and 2.

    IMBDET_DEBUG=1 shows the traceback of such a mistake too; an error that is not the user's always has it.
    """
    main: Callable[[Sequence[str] | None], int] = import_module(f"imbdet.commands.{verb}").main
    try:
        return int(main(argv) or 0)
    except KeyboardInterrupt:
        print(f"imbdet {verb}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe left (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from ..mistakes import is_users_mistake

        if os.environ.get("IMBDET_DEBUG", "") not in ("", "0") or not is_users_mistake(error):
            raise
        print(f"imbdet {verb}: error: {_text(error)}", file=sys.stderr)
        return 2


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if hasattr(error, "config_path") and isinstance(error, RuntimeError):
        return f"{' '.join(str(error).split())} (IMBDET_DEBUG=1 shows where)"
    if type(error).__module__.startswith("omegaconf"):
        return " ".join(str(error).split())
    return str(error) or type(error).__name__
