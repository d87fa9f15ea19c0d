"""Picture files, decoded to uint8 RGB.

Notable: torchvision decodes (faster than PIL, equal pixels), and PIL takes over what torchvision refuses or dies of:
PNG, BMP, TIFF, AVIF, turned WebP, and truncated files, of which the readable part is used, with a warning. The EXIF
orientation is applied explicitly, always: cameras store a portrait photo lying down and say so there, and annotation
tools show it upright. A picture whose decoded size is not the size in the annotations is refused (as detectron2 does):
its boxes would lie somewhere else. Annotations may come from a stranger: only regular files in the folder of pictures
are opened, and what says in its header that it is larger than `MAX_PIXELS` is not decoded. `deep` has the rule for 16
bits and for floats.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from imbdet.data.deep import DeepTiff, deep_rgb, to_8_bits
from imbdet.data.picture_names import PictureFinder, exists, leads_outside

try:
    from torchvision.io import ImageReadMode, decode_image
except ImportError:  # torchvision has announced that a later release will be without it
    decode_image = None

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jfif")
# Width * height above which no picture is decoded: twice Pillow's own limit, where it stops, too.
_SET = os.environ.get("IMBDET_MAX_PIXELS", "")
MAX_PIXELS = int(_SET) if _SET.isdecimal() and 0 < len(_SET) < 19 else 178_956_970
_BROKEN = (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)  # what PIL raises at damage
_MOST_BYTES_A_PIXEL = 12  # of a file: three floats
_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 5 to 8 swap width and height
_lenient = threading.RLock()  # PIL's tolerance of truncated files and its limit are global switches


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
        """Return the file name as the annotations give it."""
        begin = self._ends[index - 1] if index else 0
        return self._bytes[begin : self._ends[index]].tobytes().decode(errors="surrogateescape")

    def path(self, index: int) -> str:
        """Return where the picture lies."""
        return os.path.join(self.root, self.name(index))

    def outside(self) -> list[int]:
        """Return the indices of the names that lead to a file outside of the folder, and to none in it."""
        names = ((i, self.name(i)) for i in range(len(self)))
        found = [i for i, name in names if leads_outside(self.root, name) and exists(self.path(i))]
        return [i for i in found if not self._finder_of_all().find(self.name(i))[0]]

    def __getitem__(self, index: int) -> Tensor:
        """Return the picture, uint8 RGB (3, H, W).

        Raises:
            FileNotFoundError: no such file in the folder; one that the name leads to outside of it is not opened.
            ValueError: it is no picture, or not of the size that the annotations say.
        """
        path, what = self.path(index), self._describe(index)
        try:
            if leads_outside(self.root, self.name(index)):
                raise FileNotFoundError(
                    f"{path}{what}: the file name leads out of the folder of pictures {self.root}, and no file is "
                    "opened there. Expected are names relative to the folder that holds all of them"
                )
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

    def find(self, index: int) -> str:
        """Return the file that is read for this picture. Raises FileNotFoundError as reading it does."""
        path = self.path(index)
        if exists(path) and not leads_outside(self.root, self.name(index)):
            return path
        return self._find(index, FileNotFoundError(f"{path}{self._describe(index)}: no such picture file"))

    def _find(self, index: int, error: FileNotFoundError) -> str:
        """The file of a name that was written elsewhere. Raises FileNotFoundError if there is none."""
        found, why = self._finder_of_all().find(self.name(index))
        if not found:
            raise FileNotFoundError(f"{error}{why and ': ' + why}") from None
        return os.path.join(self.root, found)

    def _finder_of_all(self) -> PictureFinder:
        if self._finder is None:
            self._finder = PictureFinder(self.root, map(self.name, range(len(self))))
        return self._finder

    def _describe(self, index: int) -> str:
        return "" if self._image_ids is None else f" (image id {int(self._image_ids[index])})"


def decode(path: str, what: str = "") -> Tensor:
    """Read one picture upright (EXIF orientation applied).

    Args:
        path: the file.
        what: put after the path in error messages, e.g. " (image id 7)".

    Returns:
        uint8 RGB (3, H, W). Gray, palette and CMYK become RGB, an alpha channel is dropped, 16 bits and floats become 8
        bits (see `deep`), and of an animation the first frame is taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no regular file, has more than `MAX_PIXELS`, or nothing in it can be read as a picture.
    """
    data = read_picture(path, what)
    _check_size(data, f"{path}{what}: ")
    if not _needs_pil(data):
        try:
            image = decode_image(_as_tensor(data), mode=ImageReadMode.RGB, apply_exif_orientation=True)
            return _to_uint8(image)
        except RuntimeError:
            pass  # a kind that torchvision does not know, or damage: PIL decides, and says which
    try:
        return _decode_pil(data)
    except _BROKEN as strict:
        try:
            with _lenient:
                before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
                try:
                    image = _decode_pil(data)
                finally:
                    ImageFile.LOAD_TRUNCATED_IMAGES = before
        except _BROKEN:
            raise ValueError(f"{path}{what}: cannot be read as a picture: {explain(strict, data)}") from None
        warnings.warn(f"{path}{what}: {explain(strict, data)}; the readable part is used", stacklevel=2)
        return image


def verify(data: bytes) -> Tensor:
    """Decode the whole of a picture file's content, strictly.

    Returns:
        uint8 RGB (3, H, W), the EXIF orientation applied or not.

    Raises:
        NotOpened: more than `MAX_PIXELS`.
        ValueError: what is wrong with it: empty, of no known format, truncated.
    """
    _check_size(data)
    if not _needs_pil(data):
        try:
            return _to_uint8(decode_image(_as_tensor(data), mode=ImageReadMode.RGB))
        except RuntimeError:
            pass
    try:
        return _decode_pil(data)
    except _BROKEN as error:
        raise ValueError(explain(error, data)) from None


def picture_sizes(source: str | bytes) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return sizes of a picture from its header alone.

    Args:
        source: the file, or its content.

    Returns:
        (width, height) as `decode` returns it, and as it is stored, before the EXIF orientation; None: no picture.
    """
    if not isinstance(source, bytes) and not os.path.isfile(source):
        return None
    try:
        with _open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            # Newer Pillows turn the size of a TIFF themselves, so that its own tags are asked.
            stored = (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size
            turned = _orientation(image) in (5, 6, 7, 8)
            return (stored[::-1] if turned else stored), stored
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError):
        pass
    try:
        tiff = DeepTiff(source if isinstance(source, bytes) else read_picture(source))
        return tiff.size, tiff.stored
    except (OSError, ValueError):
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
    """Return one line on why these bytes are no picture."""
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"it is of no picture format that is known here (it begins with {data[:12]!r})"
    return str(error) or type(error).__name__


class NotOpened(ValueError):
    """What is not opened or decoded: no regular file, or more than `MAX_PIXELS`."""


def read_picture(path: str, what: str = "") -> bytes:
    """Return the content of a regular file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no regular file (a device, a pipe, a folder), not readable, or longer than any picture may be.
    """
    try:
        refuse_special(path, what)
        length = os.path.getsize(path)
        if length > _MOST_BYTES_A_PIXEL * MAX_PIXELS:
            raise NotOpened(f"{path}{what}: has {length} bytes, more than {MAX_PIXELS} pixels take")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}{what}: no such picture file") from None
    except ValueError as error:
        if "\0" not in path:
            raise
        raise FileNotFoundError(f"{path!r}{what}: no such picture file, as no name has a null character") from error
    except OSError as error:
        raise ValueError(f"{path}{what}: cannot be read: {error.strerror}") from None


def _open(source) -> Image.Image:
    """Pillow's open without its own limit of pixels, which is another number and only warns at first."""
    with _lenient:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def refuse_special(path: str, what: str = "") -> None:
    """Raise NotOpened for a device, a pipe, a socket or a folder, links followed; OSError if there is nothing."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotOpened(f"{path}{what}: is not a regular file, so that it is not opened")


def refuse_too_large(size: tuple[int, int], where: str = "") -> None:
    """Raise NotOpened for a picture of this (width, height) if it is not to be decoded."""
    if size[0] * size[1] > MAX_PIXELS:
        raise NotOpened(
            f"{where}{size[0]}x{size[1]} pixels are more than {MAX_PIXELS}: not decoded, as it may be made to fill the "
            "memory. If it is meant, set the environment variable IMBDET_MAX_PIXELS"
        )


def _check_size(data: bytes, where: str = "") -> None:
    sizes = picture_sizes(data)
    if sizes:
        refuse_too_large(sizes[0], where)


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy (13 us): torch warns at read-only memory


def _needs_pil(data: bytes) -> bool:
    """Nothing to decode with or from; a WebP with EXIF data, whose orientation torchvision does not apply; a GIF, of
    which torchvision decodes all frames at once; a PNG, at whose damage torchvision 0.29 ends the process (SIGSEGV)."""
    turned = data[8:12] == b"WEBP" and b"EXIF" in data
    return decode_image is None or not data or turned or data[:3] == b"GIF" or data[1:4] == b"PNG"


def _to_uint8(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else torch.from_numpy(to_8_bits(image.numpy()))


def _decode_pil(data: bytes) -> Tensor:
    try:
        file = _open(io.BytesIO(data))
    except UnidentifiedImageError:
        if data[:4] not in (b"II*\0", b"MM\0*"):
            raise
        array = DeepTiff(data).rgb()
    else:
        with file:
            array = deep_rgb(data, file)
            if array is None:
                array = np.array(ImageOps.exif_transpose(file).convert("RGB"))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
