"""The fixed lines of a remedy's docstring, which decide where it may act.

Six fields in this order, each of which may run over indented lines:

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet
    Source: Lin et al. 2017, arXiv 1708.02002, equation 5
    Neutral: gamma=0, alpha=None equals cross entropy
    Differs: nothing

`Home` begins with the detector that the remedy was made for, one of HOMES; "alone" after it says that it has no meaning
on the other, whose config refuses it with the rest of the line as the reason.
"""

import re

FIELDS = ("Slot", "Imbalance", "Home", "Source", "Neutral", "Differs")
HOMES = ("retinanet", "faster_rcnn", "either")


def parse(docstring: str) -> dict[str, str]:
    """{field: text} of the fixed lines; a line indented deeper than its field continues it."""
    found: dict[str, str] = {}
    current = ""
    for line in docstring.splitlines():
        match = re.match(r"(\s*)(\w+):\s*(.*)", line)
        if match and match[2] in FIELDS and match[2] not in found:
            current = match[2]
            found[current] = match[3].strip()
        elif current and line.strip() and line[:1].isspace():
            found[current] += f" {line.strip()}"
        else:
            current = ""
    return found


def home_alone(home: str) -> str:
    """Return the detector of a `Home` line that says "alone" after it, e.g. "retinanet"; "" of any other line."""
    match = re.match(r"(\w+) alone\b", home)
    return match[1] if match else ""
