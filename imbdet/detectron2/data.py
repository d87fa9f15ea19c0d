"""detectron2's data sets as Records, and our choice of images as a torch sampler.

detectron2 is imported only where its catalog, processes or random numbers are asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from ..config import locate
from ..data.images import FileImages
from ..data.records import Records
from ..data.samplers import UniformSampler
from ..data.statistics import class_counts
from ..slots import Balance, ImageSampler


def records_from(
    names: str | Sequence[str], filter_empty: bool = True, min_keypoints: int = 0, num_classes: int | None = None
) -> Records:
    """Return the images of registered data sets, in the order in which detectron2's train loader holds them; kept in
    memory.

    Args:
        names: in the DatasetCatalog. filter_empty, min_keypoints: which images the loader leaves out, as of
            `get_detection_dataset_dicts`. num_classes: of the model, to be checked; None takes any.

    Raises:
        ValueError: the data have another number of classes than the model.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    records = _records(names, filter_empty, min_keypoints)
    if num_classes not in (None, records.num_classes):
        raise ValueError(
            f"data set {'+'.join(names)} has {records.num_classes} classes, the model has num_classes={num_classes}"
        )
    return records


@functools.lru_cache(maxsize=4)
def _records(names: tuple[str, ...], filter_empty: bool, min_keypoints: int) -> Records:
    from detectron2.data import MetadataCatalog, get_detection_dataset_dicts

    dicts = get_detection_dataset_dicts(list(names), filter_empty=filter_empty, min_keypoints=min_keypoints)
    classes = MetadataCatalog.get(names[0]).get("thing_classes", None)
    return records_of_dicts(dicts, classes, "+".join(names))


def records_of_dicts(dicts: Sequence[Mapping], class_names: Sequence[str] | None, name: str) -> Records:
    """Map detectron2's list of dicts -> Records, image i of which is `dicts[i]` and has the id i.

    Args:
        class_names: K names; None names the classes 0 .. the largest `category_id` by their numbers.

    Raises:
        ValueError: a `category_id` outside 0..K-1, boxes in a mode that is neither XYXY nor XYWH in pixels.
    """
    found = [(i, one) for i, image in enumerate(dicts) for one in image.get("annotations", ())]
    labels = np.array([one["category_id"] for _, one in found], dtype=np.int64)
    if class_names is None:
        class_names = [str(k) for k in range(int(labels.max(initial=-1)) + 1)]
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(f"{name}: category_id {labels.min()}..{labels.max()} is outside 0..{len(class_names) - 1}")
    counts = [len(image.get("annotations", ())) for image in dicts]
    xywh = np.array([_xywh(one, name) for _, one in found], dtype=np.float64).reshape(-1, 4)
    return Records(
        name=name,
        source=name,
        class_names=tuple(class_names),
        category_ids=np.arange(len(class_names)),
        image_ids=np.arange(len(dicts)),
        heights=np.array([image.get("height", 0) for image in dicts]),
        widths=np.array([image.get("width", 0) for image in dicts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        xywh=xywh,
        labels=labels,
        areas=xywh[:, 2] * xywh[:, 3],
        crowd=np.array([bool(one.get("iscrowd", 0)) for _, one in found], dtype=bool),
        annotation_ids=np.arange(1, len(found) + 1),
        images=FileImages("", [str(image.get("file_name", "")) for image in dicts]),
    )


def _xywh(annotation: Mapping, name: str) -> list[float]:
    mode, box = int(annotation.get("bbox_mode", 0)), list(map(float, annotation["bbox"]))
    if mode == 0:  # BoxMode.XYXY_ABS
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    if mode == 1:  # BoxMode.XYWH_ABS
        return box
    raise ValueError(f"{name}: bbox_mode {annotation['bbox_mode']}; known are XYXY_ABS and XYWH_ABS")


def counts_from(names: str | Sequence[str], filter_empty: bool = True) -> list[int]:
    """Return boxes of each class in registered data sets, in the order of the labels, crowd left out."""
    return class_counts(records_from(names, filter_empty))


def later(call: str, **settings: Any) -> Callable:
    """Return a call of the dotted name with these settings, to be finished with others."""
    return functools.partial(locate(call), **settings)


class ImageStream(Sampler):
    """Endless image indices, of which each process takes every world_size-th, as detectron2's TrainingSampler does.

    Args:
        records: the images of the train loader, image i with the id i (`records_from`).
        image_sampler: called as (records, seed=...) -> the slot; None shuffles uniformly.
        balance: the slot; None keeps the images.
        seed: of the stream, the same in all processes; None takes one that detectron2 shares between them.
        rank, world_size: which process of how many; None asks detectron2.
    """

    def __init__(
        self,
        records: Records,
        image_sampler: Callable[..., ImageSampler] | None = None,
        balance: Balance | None = None,
        seed: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ):
        if seed is None or rank is None or world_size is None:
            from detectron2.utils import comm

            seed = comm.shared_random_seed() if seed is None else seed
            rank = comm.get_rank() if rank is None else rank
            world_size = comm.get_world_size() if world_size is None else world_size
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}, which is not in 0..{world_size - 1}")
        self.rank, self.world_size = rank, world_size
        chosen = records if balance is None else balance(records)
        self.described = "" if balance is None else balance.report(records, chosen)
        self.image_ids = chosen.image_ids
        self.sampler = (image_sampler or UniformSampler)(chosen, seed=seed)
        self.described += self.sampler.describe()

    def __iter__(self) -> Iterator[int]:
        return (int(self.image_ids[i]) for i in islice(self.sampler.indices(), self.rank, None, self.world_size))
