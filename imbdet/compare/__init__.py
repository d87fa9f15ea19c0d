"""Comparisons of remedies: a grid of arms x seeds, run, collected, and judged.

    structures.py  what a comparison is made of: Arm, Plan, RunRecord, Difference, ArmResult, Comparison

A comparison's folder holds `plan.json`, one run folder for each cell (`runs/<arm>/seed_<s>`), `results.jsonl` (one line
for each finished or failed cell) and the reports.
"""
