"""Picture files, decoded to uint8 RGB.

Notable: torchvision decodes (faster than PIL, equal pixels), and PIL takes over what torchvision refuses: BMP, TIFF,
AVIF, turned WebP, and truncated files, of which the readable part is used, with a warning. The EXIF orientation is
applied explicitly, always: cameras store a portrait photo lying down and say so there, and annotation tools show it
upright. A picture whose decoded size is not the size in the annotations is refused (as detectron2 does): its boxes
would lie somewhere else.
"""

from __future__ import annotations

import io
import os
import threading
import warnings

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from imbdet.data.picture_names import PictureFinder

try:
    from torchvision.io import ImageReadMode, decode_image
except ImportError:  # torchvision has announced that a later release will be without it
    decode_image = None

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jfif")
_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 5 to 8 swap width and height
_lenient = threading.Lock()  # PIL's tolerance of truncated files is one global switch


class FileImages:
    """The pictures of one folder, decoded when asked for.

    File names are kept in one byte array, not in N Python strings, so that forked workers share them.

    Args:
        root: the folder that the names are relative to.
        names: N file names.
        image_ids: N ids for error messages, or None.
        heights, widths: (N,) pixels that the annotations promise, or None to take any size.
    """

    def __init__(self, root: str, names, image_ids=None, heights=None, widths=None):
        self.root = os.fspath(root)
        encoded = [name.encode(errors="surrogateescape") for name in names]
        self._ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._image_ids, self._heights, self._widths = image_ids, heights, widths
        self._finder: PictureFinder | None = None  # made when a picture is not under its name

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, index: int) -> str:
        """The file name as the annotations give it."""
        begin = self._ends[index - 1] if index else 0
        return self._bytes[begin : self._ends[index]].tobytes().decode(errors="surrogateescape")

    def path(self, index: int) -> str:
        """Where the picture lies."""
        return os.path.join(self.root, self.name(index))

    def __getitem__(self, index: int) -> Tensor:
        """The picture, uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no picture, or not of the size that the annotations say.
        """
        path, what = self.path(index), self._describe(index)
        try:
            image = decode(path, what)
        except FileNotFoundError as error:
            path = self._find(index, error)
            image = decode(path, what)
        if self._heights is not None:
            wanted = int(self._widths[index]), int(self._heights[index])
            found = image.shape[2], image.shape[1]
            if wanted != found:
                sizes = picture_sizes(path)
                turned = " (its size before its EXIF orientation is applied)" if sizes and sizes[1] == wanted else ""
                raise ValueError(
                    f"{path}{what}: the picture is {found[0]}x{found[1]} (width x height), the annotations say "
                    f"{wanted[0]}x{wanted[1]}{turned}, so that its boxes would lie elsewhere. "
                    "tools/check_data.py lists all such pictures, and --fix corrects them where that is safe"
                )
        return image

    def _find(self, index: int, error: FileNotFoundError) -> str:
        """The file of a name that was written elsewhere. Raises FileNotFoundError if there is none."""
        if self._finder is None:
            self._finder = PictureFinder(self.root, map(self.name, range(len(self))))
        found, why = self._finder.find(self.name(index))
        if not found:
            raise FileNotFoundError(f"{error}{why and ': ' + why}") from None
        return os.path.join(self.root, found)

    def _describe(self, index: int) -> str:
        return "" if self._image_ids is None else f" (image id {int(self._image_ids[index])})"


def decode(path: str, what: str = "") -> Tensor:
    """Read one picture upright (EXIF orientation applied).

    Args:
        path: the file.
        what: put after the path in error messages, e.g. " (image id 7)".

    Returns:
        uint8 RGB (3, H, W). Grey, palette and CMYK become RGB, an alpha channel is dropped, 16 bits become the upper 8,
        and of an animation the first frame is taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: nothing in it can be read as a picture.
    """
    data = _read(path, what)
    if not _needs_pil(data):
        try:
            image = decode_image(_as_tensor(data), mode=ImageReadMode.RGB, apply_exif_orientation=True)
            return _to_uint8(image[0] if image.ndim == 4 else image)
        except RuntimeError:
            pass  # a kind that torchvision does not know, or damage: PIL decides, and says which
    try:
        return _decode_pil(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as strict:
        try:
            with _lenient:
                before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
                try:
                    image = _decode_pil(data)
                finally:
                    ImageFile.LOAD_TRUNCATED_IMAGES = before
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise ValueError(f"{path}{what}: cannot be read as a picture: {explain(strict, data)}") from None
        warnings.warn(f"{path}{what}: {explain(strict, data)}; the readable part is used", stacklevel=2)
        return image


def verify(data: bytes) -> None:
    """Decode the whole of a picture file's content, strictly.

    Raises:
        ValueError: what is wrong with it: empty, of no known format, truncated.
    """
    if not _needs_pil(data):
        try:
            decode_image(_as_tensor(data), mode=ImageReadMode.RGB)
            return
        except RuntimeError:
            pass
    try:
        _decode_pil(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(explain(error, data)) from None


def picture_sizes(source: str | bytes) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Sizes of a picture from its header alone.

    Args:
        source: the file, or its content.

    Returns:
        (width, height) as `decode` returns it, and as it is stored, before the EXIF orientation; None: no picture.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            # Newer Pillows turn the size of a TIFF themselves, so that its own tags are asked.
            stored = (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size
            turned = _orientation(image) in (5, 6, 7, 8)
            return (stored[::-1] if turned else stored), stored
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError):
        return None


def _orientation(image: Image.Image) -> int:
    try:
        if image.format == "PNG":  # its getexif() would decode the whole picture
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        else:
            exif = image.getexif()
        return exif.get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):
        return 1


def explain(error: Exception, data: bytes) -> str:
    """One line on why these bytes are no picture."""
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"it is of no picture format that is known here (it begins with {data[:12]!r})"
    return str(error) or type(error).__name__


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}{what}: no such picture file") from None
    except OSError as error:
        raise ValueError(f"{path}{what}: cannot be read: {error.strerror}") from None


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy (13 us): torch warns at read-only memory


def _needs_pil(data: bytes) -> bool:
    """Nothing to decode with or from, or a WebP with EXIF data, whose orientation torchvision does not apply."""
    return decode_image is None or not data or (data[8:12] == b"WEBP" and b"EXIF" in data)


def _to_uint8(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else (image.to(torch.int32) >> 8).to(torch.uint8)


def _decode_pil(data: bytes) -> Tensor:
    with Image.open(io.BytesIO(data)) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits a pixel, which PIL's own conversion clips at 255
            grey = np.asarray(image).astype(np.int64)
            grey = np.clip(grey >> 8 if grey.max(initial=0) > 255 else grey, 0, 255).astype(np.uint8)
            array = np.repeat(grey[:, :, None], 3, axis=2)
        else:
            array = np.array(image.convert("RGB"))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
