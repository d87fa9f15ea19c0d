"""One page about a finished run: `write_report(run_dir, out_html)`.

The page is a single HTML file without scripts and without anything loaded from elsewhere, so that it can be mailed and
opened in ten years. Everything it shows is read from the run folder; nothing is computed anew but the pictures.

    run.py       what a run folder holds, read once
    tables.py    rows and headline numbers, as plain data
    plots.py     curves and bars, as inline SVG
    pictures.py  validation images with true and predicted boxes
    html.py      puts these into templates/

`comparison.write_comparison` does the same for a comparison of remedies, and writes Markdown, CSV and LaTeX as well;
`tensorboard.py` shows a whole grid there; `numbers.py` is how numbers are written everywhere.
"""

from .html import write_report
from .run import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
