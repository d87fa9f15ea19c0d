"""What is wrong with a data set, all of it in one run.

`quick_checks` and `check_splits` look at records in memory before every training (`check_before_training` refuses on
errors); `imbdet check_data` runs everything on files, pictures too, and repairs what can be repaired. Every rule stands
in `rules.py`; one more is a `@rule(...)` there.
"""

from imbdet.data.checks.findings import Finding, Findings
from imbdet.data.checks.run import check_before_training, check_splits, quick_checks

__all__ = ["Finding", "Findings", "check_before_training", "check_splits", "quick_checks"]
