"""Section 7, duplicates: near-equal pictures within a split, and across splits, where they are a leak.

A picture's hash is 64 bits, whether each of 9 x 8 gray cells is darker than its right neighbor (difference hash). Two
pictures are near-duplicates if their hashes, or that of one and of the other's mirror image, differ in at most
DIFFERENT bits, and their 16 x 16 gray thumbnails correlate by at least ALIKE: the bits find candidates, the thumbnails
decide. Pictures without contrast have no hash.

Notable: two hashes that differ in at most 4 of 64 bits agree in one of 5 parts, so candidates come from equal parts and
never from all pairs of pictures.

Letters: N pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..data.records import Records

DIFFERENT = 4  #: bits of 64
ALIKE = 0.95  #: correlation of the thumbnails
FLAT = 2.0  #: gray levels; a thumbnail of less deviation shows nothing to compare
SIDE = 16
PARTS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  #: first bit and length; one more part than DIFFERENT
MOST_ALIKE = 64  #: hashes with one part in common that are compared with all others of them


def hash_pictures(splits: dict[str, Records], progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Read every picture once.

    Returns:
        {"split": (N,) names, "image": (N,) index in its split, "hash", "mirrored": uint64 (N,), "thumbnail": float32
        (N, 256) of mean 0 and norm 1, "unreadable": [(split, index)], "flat": how many had no contrast}.
    """
    columns: dict[str, list] = {"split": [], "image": [], "hash": [], "mirrored": [], "thumbnail": []}
    unreadable, flat = [], 0
    for name, records in splits.items():
        for index in range(len(records)):
            if progress:
                progress(1)
            try:
                gray = read_gray(records, index)
            except (OSError, ValueError, RuntimeError, SyntaxError):
                unreadable.append((name, index))
                continue
            if gray.std() < FLAT:
                flat += 1
                continue
            small = cells(gray, SIDE, SIDE)
            small = small - small.mean()
            values = (name, index, difference_hash(gray), difference_hash(gray[:, ::-1]), small / np.linalg.norm(small))
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    return {
        "split": np.array(columns["split"], dtype=object),
        "image": np.array(columns["image"], dtype=np.int64),
        "hash": np.array(columns["hash"], dtype=np.uint64),
        "mirrored": np.array(columns["mirrored"], dtype=np.uint64),
        "thumbnail": np.array(columns["thumbnail"], dtype=np.float32).reshape(-1, SIDE * SIDE),
        "unreadable": unreadable,
        "flat": flat,
    }


def read_gray(records: Records, index: int) -> np.ndarray:
    """float64 (144, 144) gray picture; a JPEG is decoded at a fraction of its size, several times as fast."""
    path = getattr(records.images, "path", lambda index: "")(index)
    if path:
        with Image.open(path) as picture:
            picture.draft("L", (SIDE * 9, SIDE * 9))
            gray = picture.convert("L")
    else:
        array = np.ascontiguousarray(records.images[index].permute(1, 2, 0).numpy())
        gray = Image.fromarray(array).convert("L")
    return np.asarray(gray.resize((SIDE * 9, SIDE * 9), Image.Resampling.BOX), dtype=np.float64)


def cells(gray: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means of rows x columns equal cells, flat."""
    height, width = gray.shape
    return gray.reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3)).ravel()


def difference_hash(gray: np.ndarray) -> int:
    """64 bits of a (144, 144) picture: cell (i, j) of 8 x 9 is darker than cell (i, j + 1)."""
    grid = cells(gray, 8, 9).reshape(8, 9)
    return int(np.packbits(grid[:, :-1] < grid[:, 1:]).view(">u8")[0])


def near_duplicates(hashed: dict[str, Any]) -> np.ndarray:
    """int64 (P, 2): pairs of rows of `hashed` that show the same, the first smaller."""
    n = len(hashed["hash"])
    both = np.concatenate([hashed["hash"], hashed["mirrored"]])
    found = [np.zeros((0, 2), dtype=np.int64)]
    for first, length in PARTS:
        part = (both >> np.uint64(first)) & np.uint64(2**length - 1)
        order = np.argsort(part, kind="stable")
        starts = np.flatnonzero(np.append(True, part[order][1:] != part[order][:-1])) if n else np.zeros(0, int)
        sizes = np.diff(np.append(starts, len(order)))
        for step in range(1, min(int(sizes.max(initial=1)), MOST_ALIKE)):
            a, b = order[:-step], order[step:]
            a, b = a[part[a] == part[b]], b[part[a] == part[b]]
            found.append(_confirmed(hashed, both, a, b, n))
    return np.unique(np.concatenate(found), axis=0)


def _confirmed(hashed: dict[str, Any], both: np.ndarray, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Pairs (P, 2) of pictures whose hashes are near and whose thumbnails are alike; two mirrored ones are left out."""
    use = (_ones(both[a] ^ both[b]) <= DIFFERENT) & ((a < n) | (b < n)) & (a % n != b % n)
    a, b = a[use], b[use]
    thumbnail = hashed["thumbnail"]
    left = _turned(thumbnail[a % n], a >= n)
    right = _turned(thumbnail[b % n], b >= n)
    alike = (left * right).sum(axis=1) >= ALIKE
    pairs = np.stack([a[alike] % n, b[alike] % n], axis=1) if n else np.zeros((0, 2), int)
    return np.sort(pairs, axis=1)


def _ones(bits: np.ndarray) -> np.ndarray:
    """(P,) uint64 -> how many bits are set."""
    return np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)


def _turned(thumbnails: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    grids = thumbnails.reshape(-1, SIDE, SIDE)
    return np.where(mirrored[:, None, None], grids[:, :, ::-1], grids).reshape(-1, SIDE * SIDE)


def diagnose_duplicates(splits: dict[str, Records], hashed: dict[str, Any]) -> dict[str, Any]:
    """Near-duplicate pictures: how many within each split and across two, and the pairs."""
    pairs = near_duplicates(hashed)
    split, image = hashed["split"], hashed["image"]
    within = {name: int((split[pairs[:, 0]] == name)[split[pairs[:, 1]] == name].sum()) for name in splits}
    across: dict[str, int] = {}
    rows = []
    for a, b in pairs.tolist():
        leak = split[a] != split[b]
        if leak:
            key = f"{split[a]} and {split[b]}"
            across[key] = across.get(key, 0) + 1
        names = [splits[split[i]].images.name(int(image[i])) for i in (a, b)]
        rows.append({"a": [split[a], int(image[a]), names[0]], "b": [split[b], int(image[b]), names[1]], "leak": leak})
    rows.sort(key=lambda row: not row["leak"])
    leaked = {name: 0 for name in splits}
    for name in list(splits)[1:]:
        first = [pairs[:, 0], pairs[:, 1]]
        hit = [i for a, b in (first, first[::-1]) for i in a[(split[a] == name) & (split[b] == next(iter(splits)))]]
        leaked[name] = len(set(hit))
    return {
        "pictures": len(split),
        "unreadable": len(hashed["unreadable"]),
        "without_contrast": hashed["flat"],
        "within": within,
        "across": across,
        "leaked": {name: count / max(len(splits[name]), 1) for name, count in leaked.items()},
        "pairs": rows[:200],
    }
