"""Pictures of more than 8 bits a value, made 8 bits by one rule for every format.

Notable: a 16-bit file often holds 8, 10, 12 or 14 bits (of a sensor), and nothing in the file says so reliably: PNG's
sBIT counts bits from the top, TIFF has no such tag. So the depth is that of the values: white is the end of the
smallest of these depths that holds the largest value of the file, and the upper 8 of its bits are kept. Values are not
stretched to the file's own range, because then a picture's brightness would follow its brightest pixel; that is done
only where no depth can be meant, below 0 and above 16 bits. A dark picture may thus come out a depth too bright, never
black. Floats in 0..1 have white at 1, other floats follow the same depths. Pillow reads 16-bit color as its upper 8
bits and no float color at all, so both are read here.
"""

from __future__ import annotations

import io
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

_DEPTHS = (8, 10, 12, 14, 16)
_COLOR = ("RGB;16", "RGBA;16", "RGBX;16")


def to_8_bits(samples: np.ndarray, inverted: bool = False) -> np.ndarray:
    """Return values of any kind as uint8 of the same shape, by the rule above.

    Args:
        samples: integers or floats. What is not finite becomes the lowest or highest finite value, NaN the lowest.
        inverted: 0 is white (TIFF).
    """
    floats = np.issubdtype(samples.dtype, np.floating)
    if floats:
        finite = samples[np.isfinite(samples)].astype(np.float64)
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
        samples = np.nan_to_num(samples.astype(np.float64), nan=low, posinf=high, neginf=low)
    else:
        low, high = int(samples.min(initial=0)), int(samples.max(initial=0))
    if low < 0 or high >= 2 ** _DEPTHS[-1]:
        span = (float(high) - float(low)) or 1.0
        values = np.rint((samples.astype(np.float64) - low) / span * 255)
    elif floats and high <= 1:
        values = np.rint(samples * 255)
    else:
        shift = next(depth for depth in _DEPTHS if high < 2**depth) - 8
        values = np.floor(samples / 2**shift) if floats else samples.astype(np.int64) >> shift
    values = values.astype(np.uint8)
    return 255 - values if inverted else values


def deep_rgb(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Return uint8 (H, W, 3), upright, of a picture of more than 8 bits; None: it has no more, and Pillow reads it
    right.

    Args:
        data: the file. image: the same, opened and not yet loaded.
    """
    inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0
    if image.mode == "F" or image.mode.startswith("I"):
        if image.format == "TIFF" and sys.byteorder == "little":
            # libtiff has turned the bytes round already, and Pillow would do it again.
            twice = {"F;32BF": "F;32F", "I;32BS": "I;32S", "I;16BS": "I;16S"}
            tiles = [t._replace(args=(twice.get(t.args[0], t.args[0]), *t.args[1:])) for t in image.tile]
            image.tile = [b if a.codec_name == "libtiff" else a for a, b in zip(image.tile, tiles, strict=True)]
        gray = to_8_bits(np.asarray(ImageOps.exif_transpose(image)), inverted)
        return np.repeat(gray[:, :, None], 3, axis=2)
    args = image.tile[0][3] if image.tile else ""
    raw = args if isinstance(args, str) else args[0] if args else ""
    if not isinstance(raw, str) or raw[:-1] not in _COLOR:
        return None
    high = np.asarray(ImageOps.exif_transpose(image))[:, :, :3]
    with Image.open(io.BytesIO(data)) as again:  # the other order of bytes, whose upper 8 bits are the lower ones
        native = "L" if sys.byteorder == "little" else "B"
        other = raw[:-1] + ("B" if raw.replace(";16N", f";16{native}").endswith("L") else "L")
        again.tile = [tile._replace(args=_with_mode(tile.args, other)) for tile in again.tile]
        low = np.asarray(ImageOps.exif_transpose(again))[:, :, :3]
    return to_8_bits(high.astype(np.uint16) << 8 | low)


def _with_mode(args, mode: str):
    return mode if isinstance(args, str) else (mode, *args[1:])


class DeepTiff:
    """A TIFF that Pillow does not open: floats or whole numbers of 8 to 64 bits in strips, not or Deflate-compressed.

    Raises:
        ValueError: it is no TIFF, or one of another kind.
    """

    def __init__(self, data: bytes):
        try:
            self._tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
            file = io.BytesIO(data)
            file.seek(self._tags.next)
            self._tags.load(file)
            self.stored = int(self._tags[256]), int(self._tags[257])
        except Exception as error:  # whatever Pillow's parser trips over in a broken file
            raise ValueError("it is no TIFF that can be read") from error
        self._data = data
        self.orientation = self._tags.get(274, 1)
        self.size = self.stored[::-1] if self.orientation in (5, 6, 7, 8) else self.stored

    def rgb(self) -> np.ndarray:
        """Return uint8 (H, W, 3), upright. Raises ValueError."""
        tag, (width, height) = self._tags, self.stored
        channels, kinds = int(tag.get(277, 1)), {1: "u", 2: "i", 3: "f"}
        bits, kind = set(tag.get(258, (1,))), kinds.get(min(tag.get(339, (1,))))
        plain = tag.get(284, 1) == 1 and tag.get(317, 1) == 1 and 322 not in tag and tag.get(259, 1) in (1, 8, 32946)
        if len(bits) != 1 or min(bits) % 8 or kind is None or not plain or 273 not in tag or 279 not in tag:
            raise ValueError(
                "this kind of TIFF is not read (floats in color with LZW, tiles or planes): save it plainly"
            )
        parts = (self._data[a : a + n] for a, n in zip(tag[273], tag[279], strict=False))
        try:
            dtype = np.dtype(f"{'<' if self._data[:2] == b'II' else '>'}{kind}{min(bits) // 8}")
            count = width * height * channels
            most = count * dtype.itemsize  # no strip unpacks to more than the whole picture
            raw = b"".join(p if tag.get(259, 1) == 1 else zlib.decompressobj().decompress(p, most) for p in parts)
            samples = np.frombuffer(raw, dtype=dtype, count=count).reshape(height, width, channels)
        except (TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"the TIFF's pixels cannot be read: {error}") from None
        values = to_8_bits(_turned(samples[:, :, : 3 if channels >= 3 else 1], self.orientation), tag.get(262) == 0)
        return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as EXIF's orientation 1..8 shows it."""
    if orientation in (5, 6, 7, 8):
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array
