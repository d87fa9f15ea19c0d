"""One check of all that a GPU may change: `make gpu-check`, or `python -m benchmarks.gpu`.

It needs the checkout and the installed packages, no data and no weights. `--device cpu` runs the same parts with small
sizes, as far as a CPU has a part in them. Each part is a module with `units(small)`, the names of what it does, and
`run(unit, device, small)`, which returns a dict of figures. In it, `short` lists what falls short and `skipped` says
why something could not be done; both may be missing.
"""
