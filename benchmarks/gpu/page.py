"""The page: what falls short, then a table of each part."""

from typing import Any

from tabulate import tabulate

#: keys that are not columns
APART = ("short", "skipped", "top", "places")


def page(report: dict[str, Any]) -> str:
    """Markdown of what the JSON holds."""
    where = report["where"]
    state = "" if report["complete"] else " **The check was cut off or is under way.**"
    lines = [
        f"# Check on {where.get('gpu', 'a CPU, a dry run with small sizes')}",
        "",
        f"{report['made']}, {report.get('seconds', 0):g} s.{state}",
        "",
        *(f"- {name}: {value}" for name, value in where.items()),
        "",
        f"## What falls short: {len(report.get('short', ()))}",
        "",
        *(f"- {line}" for line in report.get("short", ())),
        "",
    ]
    if report.get("skipped"):
        lines += ["## What was not done", "", *(f"- {line}" for line in report["skipped"]), ""]
    for name, part in report.get("parts", {}).items():
        done = [row for row in part["units"].values() if not row.get("skipped")]
        good = sum(not row.get("short") for row in done)
        lines += [
            f"## {part['title']} (`{name}`)",
            "",
            f"{good} of {len(done)} without fault, {part['seconds']:g} s.",
            "",
        ]
        lines += [_table(part["units"]), ""]
        for unit, row in part["units"].items():
            if row.get("top"):
                lines += _top(unit, row)
    if "waits" in report.get("parts", {}):
        lines += _places(report["parts"]["waits"]["units"])
    return "\n".join(lines) + "\n"


def _table(units: dict[str, dict]) -> str:
    columns = list(dict.fromkeys(key for row in units.values() for key in row if key not in APART))
    rows = [
        [unit.removeprefix("remedies/"), *(_cell(row.get(key)) for key in columns), "short" if row.get("short") else ""]
        for unit, row in units.items()
    ]
    return tabulate(rows, headers=["", *columns, ""], tablefmt="github", disable_numparse=True)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _top(unit: str, row: dict) -> list[str]:
    rows = [[one["name"], f"{one['share']:.1%}", f"{one['calls']:g}"] for one in row["top"]]
    table = tabulate(rows, headers=["operator", "own time", "calls a step"], tablefmt="github", disable_numparse=True)
    return [f"### {unit}", "", f"The device is busy for {row['busy']:.0%} of the step.", "", table, ""]


def _places(units: dict[str, dict]) -> list[str]:
    """Where the host waits, over all units."""
    found: dict[str, list[str]] = {}
    for unit, row in units.items():
        for place, count in row.get("places", {}).items():
            found.setdefault(place, []).append(f"{unit.rsplit('/', 1)[-1]} {count}")
    rows = [
        [f"`{place}`", len(users), ", ".join(users[:4]) + (", ..." if len(users) > 4 else "")]
        for place, users in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    table = tabulate(rows, headers=["place", "configs", "times a step"], tablefmt="github")
    return ["### Where the host waits", "", table, ""]
