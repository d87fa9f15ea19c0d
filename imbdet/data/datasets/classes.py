"""Classes of two files brought together by name, never by id.

Category ids are private to a file: "cat" may be 1 in train.json and 0 in val.json, and a model evaluated through ids
that are off by one gets AP 0 without any message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imbdet.data.records import Records


def align_classes(records: Records, class_names: Sequence[str]) -> Records:
    """Return the same records with labels that count in the order of `class_names`.

    Args:
        records: e.g. the validation split.
        class_names: K names, e.g. of the training split.

    Returns:
        Records with `class_names`; the file's own category ids stay, reordered. A class that the file does not have
        gets an id that the file does not use. A class of the file that is not wanted is dropped if it has no box.

    Raises:
        ValueError: boxes of a class that is not among `class_names`; both differences are named.
    """
    class_names = tuple(class_names)
    if class_names == records.class_names:
        return records
    position = {name: label for label, name in enumerate(class_names)}
    counts = np.bincount(records.labels, minlength=records.num_classes)
    unknown = [n for n, count in zip(records.class_names, counts, strict=True) if count and n not in position]
    if unknown:
        missing = [n for n in class_names if n not in records.class_names]
        raise ValueError(
            f"{records.source}: has boxes of classes that the other file (train) does not have: {listed(unknown)}; "
            f"the other file's classes that are missing here: {listed(missing)}. Classes are matched by name: give the "
            "same class the same name in both files"
        )
    new_label = np.array([position.get(name, -1) for name in records.class_names], dtype=np.int32)
    own_ids = dict(zip(records.class_names, records.category_ids.tolist(), strict=True))
    unused = max(own_ids.values(), default=0) + 1
    category_ids = []
    for name in class_names:
        category_ids.append(own_ids.get(name, unused))
        unused += name not in own_ids
    labels = new_label[records.labels] if len(records.labels) else records.labels
    keys = records.category_keys
    if keys is not None:
        own_keys = dict(zip(records.class_names, keys, strict=True))
        keys = tuple(own_keys.get(name, name) for name in class_names)
    ids = np.array(category_ids)
    return replace(records, class_names=class_names, category_ids=ids, labels=labels, category_keys=keys)


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Return 'cat', 'dog' and 3 more; or "none"."""
    shown = ", ".join(repr(name) for name in names[:limit])
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return shown + more or "none"
