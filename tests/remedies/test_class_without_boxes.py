"""Every remedy that goes by class counts, found by what its config names, with a class that has no box.

What it says of the other classes must be what it says of the data set without that class, number by number.
"""

import itertools
import re

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from imbdet.config import LazyCall, files, instantiate, load_config
from imbdet.config.difference import changed_paths
from imbdet.data.datasets.coco import records_from_coco
from imbdet.remedies import index
from tests.helpers import fitting

EMPTY = 2  # the label of the class without boxes
#: what a config asks of the train records as a whole
COUNTS = re.compile("class_counts|image_counts|image_shares|class_groups|class_dimensions")
LOADER = ("dataloader.train.image_sampler", "dataloader.train.balance", "dataloader.train.mix")


def made(empty: bool):
    """60 images of four classes, each about three times rarer than the one before; with a fifth that has no box."""
    rng = np.random.default_rng(0)
    ids = [1, 2, 4, 5]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 99, "height": 99} for i in range(1, 61)]
    annotations = [
        {"image_id": image["id"], "category_id": ids[int(k)], "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
        for image in images
        for k in rng.choice(4, rng.integers(0, 6), p=np.array([27, 9, 3, 1]) / 40)
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    if empty:
        annotations.append({**annotations[0], "id": 10**6, "category_id": EMPTY + 1, "iscrowd": 1})  # crowd is no box
    names = "abcde" if empty else "abde"
    categories = [{"id": i, "name": name} for i, name in enumerate("abcde", 1) if name in names]
    return records_from_coco({"images": images, "annotations": annotations, "categories": categories}, "made", ".")


def counting() -> list[str]:
    """The remedies that see the train records as a whole: by their slot, or as their config asks for class counts."""
    found = []
    for entry in index.entries():
        path = files.configs_dir() / "remedies" / entry.imbalance / f"{entry.name}.py"
        if {"image_sampler", "balance", "mix"} & set(entry.slots) or COUNTS.search(path.read_text(encoding="utf-8")):
            found.append(entry.name)
    return sorted(set(found))


def nodes(baseline: str, remedy: str) -> list[str]:
    """The nodes of the config through which it sees them."""
    found = []
    cfg = load_config(baseline, [remedy])
    for path in changed_paths(load_config(baseline), cfg):
        node = OmegaConf.select(cfg, path)
        raw = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
        if path in LOADER or ("${data.train}" in str(raw) and COUNTS.search(str(raw))):
            found.append(path)
    return found


def numbers(baseline: str, path: str, remedy: str, empty: bool) -> dict[str, np.ndarray]:
    """All arrays and tensors that the node holds, and what it draws."""
    cfg, records = load_config(baseline, [remedy]), made(empty)
    cfg.data.train = LazyCall(made)(empty=empty)
    part = instantiate(OmegaConf.select(cfg, path))
    if path.endswith("balance"):
        return {"images": part(records).image_ids}
    held = {}
    if path.endswith("image_sampler"):
        part = part(records, seed=0)
        held["drawn"] = np.array(list(itertools.islice(part.indices(), 300)))
        held["before"], held["after"] = part.change.before, part.change.after
    if path.endswith("mix"):
        part.build(records)
        held["settings"] = np.array([str(value) for key, value in vars(part).items() if np.isscalar(value)])
    buffers = part.named_buffers() if isinstance(part, torch.nn.Module) else []
    held.update((name, value.numpy()) for name, value in buffers)
    held.update((name, value) for name, value in vars(part).items() if isinstance(value, np.ndarray))
    return held


def test_the_remedies_of_class_counts_are_found():
    assert set(counting()) >= {"class_weights", "effective_number", "repeat_factor_sampling", "random_over_sampling"}


@pytest.mark.filterwarnings("ignore:.*makes the classes less equal")
@pytest.mark.parametrize("remedy", counting())
def test_a_class_without_boxes_changes_nothing(remedy):
    baseline = fitting(next(entry for entry in index.entries() if entry.name == remedy))[0]
    found = nodes(baseline, remedy)
    assert found
    for path in found:
        if path.endswith("balance"):
            pytest.importorskip("imblearn", reason="the extra `sampling` is not installed")
        with_it, without = (numbers(baseline, path, remedy, empty) for empty in (True, False))
        assert with_it.keys() == without.keys() and with_it
        for name, value in without.items():
            mine = with_it[name]
            mine = np.delete(mine, EMPTY, axis=0) if len(mine) == len(value) + 1 else mine
            assert np.array_equal(mine, value), f"{name}: {mine} is not {value}"
