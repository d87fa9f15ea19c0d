"""What is wrong with a data set, all of it in one run.

`quick_checks` and `check_splits` look at records in memory before every training (`check_before_training` refuses on
errors); `tools/check_data.py` runs everything on files, pictures too, and repairs what can be repaired.
"""

from imbdet.data.checks.findings import Finding, Findings
from imbdet.data.checks.quick import check_before_training, check_splits, quick_checks

__all__ = ["Finding", "Findings", "check_before_training", "check_splits", "quick_checks"]
