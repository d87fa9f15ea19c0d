# ruff: noqa: E501
"""What docs/results says of each remedy; written by `python -m benchmarks.evidence --write`."""

#: {remedy: setting, difference in the primary metric with its interval, seeds, verdict}
EVIDENCE: dict[str, str] = {}
