"""Shared by all tests: one thread per worker, and small data sets on disk.

Notable: `tiny_coco` is made once per worker and must be left as it is; `tiny_coco_copy` is one test's own to break.
"""

import gc
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the tests themselves run in parallel
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["IMBDET_TRUST"] = "tests"  # configs of tests name classes of tests

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# Category ids with gaps, as real files have them; the third class is rare.
TINY_CATEGORIES = [{"id": 1, "name": "disc"}, {"id": 3, "name": "bar"}, {"id": 7, "name": "rare box"}]
TINY_COLORS = {1: (200, 60, 60), 3: (60, 160, 80), 7: (70, 90, 200)}
TINY_SPLITS = {"train": 8, "val": 4, "test": 4}


def pytest_collection_finish():
    """Keep what the imports and the collection made out of every later garbage collection: a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Torch on one thread in every worker: two workers on two cores do not fight, and CPU sums are reproducible."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout (BCCD, 100 images of COCO); the test is skipped where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data: {os.path.relpath(SHARED_DATA, ROOT)} does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory) -> Path:
    """A COCO-format folder of 8 training, 4 validation and 4 test pictures (JPEG) with 3 classes; do not change it.

    `instances_{split}.json` and `images/{split}/`. Of each split the last picture has no object, the one before it a
    crowd object; only the first picture of a split holds the rare class.
    """
    root = tmp_path_factory.mktemp("tiny_coco")
    for number, (split, size) in enumerate(TINY_SPLITS.items()):
        write_tiny_split(root, split, size, seed=number)
    return root


@pytest.fixture
def tiny_coco_copy(tiny_coco, tmp_path) -> Path:
    """A copy of `tiny_coco` that the test may change."""
    return Path(shutil.copytree(tiny_coco, tmp_path / "tiny_coco"))


def write_tiny_split(root: Path, split: str, num_images: int, seed: int) -> None:
    """Draw and write one split: textured grounds of several sizes and shapes, 1 to 4 objects a picture."""
    rng = np.random.default_rng(seed)
    folder = root / "images" / split
    folder.mkdir(parents=True)
    images, annotations = [], []
    for i in range(num_images):
        width, height = [(96, 72), (72, 96), (80, 80), (120, 64)][i % 4]
        noise = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        image_id = 10 * (i + 1) + seed
        count = 0 if i == num_images - 1 else 1 + i % 4
        for j in range(count):
            category = 7 if (i, j) == (0, 0) else (3 if j % 3 == 2 else 1)
            w, h = (int(v) for v in rng.integers(12, 33, 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            draw = ImageDraw.Draw(picture)
            shape = draw.ellipse if category == 1 else draw.rectangle
            shape((x, y, x + w - 1, y + h - 1), fill=TINY_COLORS[category])
            crowd = int(i == num_images - 2 and j == count - 1 and count > 1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": crowd,
                }
            )
        name = f"{split}_{i}.jpg"
        picture.save(folder / name, quality=90)
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    document = {"images": images, "annotations": annotations, "categories": TINY_CATEGORIES}
    (root / f"instances_{split}.json").write_text(json.dumps(document))
