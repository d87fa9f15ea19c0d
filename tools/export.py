"""Write a trained detector as ONNX, TorchScript or torch.export: the same as `imbdet export`, from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from imbdet.commands import run  # noqa: E402

if __name__ == "__main__":
    sys.exit(run("export"))
