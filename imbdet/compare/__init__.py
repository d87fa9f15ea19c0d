"""Comparisons of remedies: a grid of arms x seeds, run, collected, and judged.

    structures.py  what a comparison is made of: Arm, Plan, RunRecord, Difference, ArmResult, Comparison
    grid.py        from the words of a command to a plan          announce.py  the plan in words
    controls.py    control arms, loss weights that match          budget.py    what must be equal side by side
    probe.py       what a run will cost                           starts.py    the same initial weights in all arms
    runner.py      runs the cells of a plan                       cell.py      one run: train, evaluate, record
    local_engine.py, ray_engine.py  where cells run               process.py   a process that ends with its asker
    existing.py    a comparison of runs that are there            board.py     TensorBoard of all arms
    store.py       the files                                      configs.py   the configs of base, arms and cells
    analysis.py    from runs to a Comparison                      cells.py     what a run left behind
    arms.py, meters.py  one arm's numbers                         remarks.py   notes and facts

A comparison's folder holds `plan.json`, one run folder for each cell (`runs/<arm>/seed_<s>`), `results.jsonl` (one line
for each finished or failed cell) and the reports.
"""
