"""Split anew, so that every part has its share of every class, and what belongs together stays together.

Letters: N images, U units (images that stay together), K classes, P parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .pool import Working


def iterative_stratification(
    labels: np.ndarray, shares: Sequence[float], choose: Callable[[int], int], sizes: np.ndarray | None = None
) -> np.ndarray:
    """int64 (U,): the part of each unit.

    The class that the fewest unassigned units have is taken next, and each of its units goes to the part that still
    wants most of this class; of equal ones to that which wants most images, then by chance. Units without classes go
    where most images are wanted.

    Args:
        labels: (U, K), how many images of each unit hold each class; 0 or 1 where units are single images.
        shares: P shares that sum up to 1.
        choose: n -> one of 0..n-1, at random.
        sizes: (U,) images of each unit, default 1.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, "On the Stratification of Multi-Label Data", algorithm 1; with single
    images it is that algorithm. A unit of several images counts with all of them.
    """
    labels = np.asarray(labels)
    sizes = np.ones(len(labels), dtype=np.int64) if sizes is None else sizes
    wanted = np.asarray(shares) * sizes.sum()
    wanted_of = np.outer(shares, labels.sum(axis=0))
    part = np.full(len(labels), -1)
    left = labels.sum(axis=0)  # of the units that have no part yet

    def give(unit: int, to: int) -> None:
        part[unit] = to
        wanted[to] -= sizes[unit]
        wanted_of[to] -= labels[unit]

    def most(values: np.ndarray) -> np.ndarray:
        return np.flatnonzero(values == values.max())

    while left.any():
        rarest = np.flatnonzero(left == left[left > 0].min())
        label = int(rarest[choose(len(rarest))] if len(rarest) > 1 else rarest[0])
        units = np.flatnonzero((labels[:, label] > 0) & (part < 0))
        for unit in units.tolist():
            best = most(wanted_of[:, label])
            if len(best) > 1:
                best = best[most(wanted[best])]
            give(unit, int(best[choose(len(best))] if len(best) > 1 else best[0]))
        left = left - labels[units].sum(axis=0)
    for unit in np.flatnonzero(part < 0).tolist():
        best = most(wanted)
        give(unit, int(best[choose(len(best))] if len(best) > 1 else best[0]))
    return part


def units_of(num_images: int, groups: np.ndarray | None, pairs: np.ndarray | None) -> np.ndarray:
    """int64 (N,): the unit of each image; images of one group, and both of a pair, are in one unit.

    Args:
        groups: (N,) names, or None. pairs: (E, 2) indices of images, or None.
    """
    edges = [np.zeros((0, 2), np.int64) if pairs is None else np.asarray(pairs, dtype=np.int64).reshape(-1, 2)]
    if groups is not None:
        _, first, of = np.unique(groups.astype(str), return_index=True, return_inverse=True)
        edges.append(np.stack([np.arange(num_images), first[of.reshape(-1)]], axis=1))
    a, b = np.concatenate(edges).T
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(num_images, num_images))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def at_least(
    part: np.ndarray,
    labels: np.ndarray,
    sizes: np.ndarray,
    shares: Sequence[float],
    least: int,
    names: Sequence[str],
    part_names: Sequence[str],
) -> np.ndarray:
    """The same with units moved until every part has `least` images of every class.

    Of the units that a part may have from others without taking them below `least`, the one is moved that changes
    fewest boxes of other classes. Arguments as above; part: (U,).

    Raises:
        ValueError: a class has too few images, or stands together in too few units.
    """
    part = part.copy()
    have = np.stack([labels[part == p].sum(axis=0) for p in range(len(shares))])
    total = labels.sum(axis=0)
    needed = np.where(total > 0, least, 0)
    for label in np.flatnonzero(needed):
        if total[label] < least * len(shares):
            raise ValueError(
                f"at_least {least}: {names[label]!r} is in {total[label]} pictures, and {len(shares)} parts need "
                f"{least * len(shares)}; ask for less, or leave the class out"
            )
    for label in np.argsort(total, kind="stable"):
        for to in range(len(shares)):
            while have[to, label] < needed[label]:
                free = ((have[part] - labels >= needed) | (labels == 0)).all(axis=1)
                units = np.flatnonzero((labels[:, label] > 0) & (part != to) & free)
                if not len(units):
                    raise ValueError(
                        f"at_least {least}: {part_names[to]} cannot have {least} pictures of {names[label]!r} without "
                        "taking them from a part that needs them: its pictures stand together with others (groups, "
                        "near-duplicates) or with other rare classes"
                    )
                rest = labels[units].sum(axis=1) - labels[units, label] + sizes[units]
                unit = int(units[np.argmin(rest)])
                have[part[unit]] -= labels[unit]
                have[to] += labels[unit]
                part[unit] = to
    return part


def split_images(
    work: Working,
    images: np.ndarray,
    shares: dict[str, float],
    least: int,
    groups: np.ndarray | None,
    pairs: np.ndarray | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """{part: indices of images, sorted}.

    Args:
        images: indices into the pool, each once. groups, pairs: of the pool, see `units_of`.

    Raises:
        ValueError: fewer units than parts, or `least` cannot be had.
    """
    records = work.chosen(images)
    unit = units_of(len(work.pool.records), groups, pairs)[images]
    _, unit = np.unique(unit, return_inverse=True)
    unit = unit.reshape(-1)
    count = int(unit.max(initial=-1)) + 1
    if count < len(shares):
        raise ValueError(
            f"{len(images)} pictures in {count} groups that stay together cannot be split into {len(shares)} parts"
        )
    kept = ~records.crowd
    held = np.zeros((len(images), records.num_classes), dtype=np.int64)
    held[records.object_image[kept], records.labels[kept]] = 1
    labels = np.zeros((count, records.num_classes), dtype=np.int64)
    np.add.at(labels, unit, held)
    sizes = np.bincount(unit, minlength=count)
    values, names = list(shares.values()), list(shares)
    part = iterative_stratification(labels, values, lambda n: int(rng.integers(n)), sizes)
    if least:
        part = at_least(part, labels, sizes, values, least, records.class_names, names)
    empty = [name for p, name in enumerate(names) if not (part == p).any()]
    if empty:
        raise ValueError(f"part {empty[0]!r} would be empty: {len(images)} pictures do not give it a share")
    if count < len(images):
        work.notes.append(f"{len(images)} pictures were split as {count} groups that stay together")
    return {name: np.sort(images[part[unit] == p]) for p, name in enumerate(names)}
