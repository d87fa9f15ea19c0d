"""The console script: `imbdet VERB ...` is the same as `python tools/VERB.py ...`."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to `imbdet.commands.VERB`; returns the exit code."""
    import difflib

    from imbdet import __version__
    from imbdet.commands import run, verbs

    argv = list(sys.argv[1:] if argv is None else argv)
    known = verbs()
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(map(len, known))
        print("usage: imbdet VERB [arguments]\n\n" + "\n".join(f"  {v:<{width}}  {does}" for v, does in known.items()))
        print("\nimbdet VERB --help describes each, with examples.")
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"imbdet {__version__}")
        return 0
    verb = argv[0].replace("-", "_")
    if verb not in known:
        near = difflib.get_close_matches(verb, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"verbs are {', '.join(known)}"
        print(f"imbdet: error: unknown verb {argv[0]!r}; {hint}", file=sys.stderr)
        return 2
    return run(verb, argv[1:])


if __name__ == "__main__":
    sys.exit(main())
