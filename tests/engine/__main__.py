"""`python -m tests.engine OUTPUT_DIR [--resume] [key=value ...]` trains the fakes: for tests that need a process to
kill.
"""

import sys

from imbdet.engine import train

from .fakes import fake_config

if __name__ == "__main__":
    words = sys.argv[2:]
    train(fake_config(sys.argv[1], *(w for w in words if "=" in w)), resume="--resume" in words)
