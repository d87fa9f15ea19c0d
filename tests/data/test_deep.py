"""More than 8 bits: one rule for every format, by hand; and the same picture from PNG and TIFF, gray and color."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imbdet.data.deep import to_8_bits
from imbdet.data.images import decode, picture_sizes, verify


def png16(array):
    """A 16-bit PNG of (H, W) or (H, W, 3), written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 0 if array.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    ends = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def tiff(array, order="<", photometric=None, orientation=1, deflated=False):
    """A TIFF of (H, W) or (H, W, 3), one strip, written by hand."""
    height, width, channels = (*array.shape, 1)[:3]
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if deflated else pixels
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    photometric = photometric if photometric is not None else 2 if channels == 3 else 1
    bits = 8 * array.dtype.itemsize
    offset = 8 + 12 * 12 + 6
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 8 if deflated else 1), (262, 3, photometric)]
    tags += [(273, 4, offset + 12), (274, 3, orientation), (277, 3, channels), (278, 4, height), (279, 4, len(pixels))]
    tags += [(284, 3, 1), (339, 3, kind)]
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags))
    for tag, form, value in tags:
        count = channels if tag in (258, 339) else 1
        if count == 3:  # three shorts do not fit into the entry
            packed = struct.pack(order + "I", offset if tag == 258 else offset + 6)
        else:
            packed = struct.pack(order + ("I" if form == 4 else "H2x"), value)
        out += struct.pack(order + "HHI", tag, form, count) + packed
    return out + bytes(4) + struct.pack(order + "3H", *[bits] * 3) + struct.pack(order + "3H", *[kind] * 3) + pixels


def read(tmp_path, data):
    path = tmp_path / "picture"
    path.write_bytes(data)
    image = decode(str(path))
    assert picture_sizes(str(path))[0] == picture_sizes(data)[0] == (image.shape[2], image.shape[1])
    assert verify(data).dtype == image.dtype
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.uint16([0, 200, 255]), [0, 200, 255]),  # 8 bits in 16: as they are
        (np.uint16([0, 256, 1023]), [0, 64, 255]),  # 10 bits: >> 2
        (np.uint16([1456, 2368]), [91, 148]),  # 12 bits: >> 4
        (np.uint16([0, 4096, 16383]), [0, 64, 255]),  # 14 bits: >> 6
        (np.uint16([0, 16384, 65535]), [0, 64, 255]),
        (np.int32([0, 2048, 4095]), [0, 128, 255]),
        (np.int32([-100, 0, 155]), [0, 100, 255]),  # no depth: the file's own range
        (np.int64([0, 10**6]), [0, 255]),
        (np.float32([0, 0.2, 1]), [0, 51, 255]),
        (np.float32([0, 100.5, 255]), [0, 100, 255]),
        (np.float32([0, 2048, 4095]), [0, 128, 255]),
        (np.float64([-1, 0, 1]), [0, 128, 255]),
        (np.float32([np.nan, 0, 1, np.inf]), [0, 0, 255, 255]),
        (np.float32([np.nan, np.nan]), [0, 0]),
        (np.int32([-5, -5]), [0, 0]),
        (np.uint16([]), []),
    ],
)
def test_the_rule_by_hand(values, wanted):
    assert to_8_bits(values).tolist() == wanted
    assert to_8_bits(values, inverted=True).tolist() == [255 - v for v in wanted]


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_and_tiff_give_the_same_picture(tmp_path, bits, shape, monkeypatch):
    array = np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint16)
    array.flat[0] = 2**bits - 1
    wanted = (array >> (bits - 8)).astype(np.uint8)
    wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[:, :, None], 3, axis=2)
    files = [png16(array), tiff(array), tiff(array, ">")]
    for data in files:
        assert np.array_equal(read(tmp_path, data), wanted)
    monkeypatch.setattr("imbdet.data.images.decode_image", None)  # Pillow alone
    for data in files:
        assert np.array_equal(read(tmp_path, data), wanted)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint32])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_floats_and_32_bits_in_tiff(tmp_path, order, deflated, dtype, shape):
    array = np.random.default_rng(0).integers(0, 4096, shape).astype(dtype)
    array.flat[0] = 4095
    wanted = array.astype(np.int64) >> 4
    if dtype != np.uint32:
        array, wanted = array / dtype(4095), np.rint(array / 4095 * 255)
    data = tiff(array.astype(dtype), order, deflated=deflated)
    wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[:, :, None], 3, axis=2)
    assert np.abs(read(tmp_path, data).astype(int) - wanted).max() <= (dtype == np.float32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_float_tiff_in_color_is_turned_as_pillow_turns_others(tmp_path, orientation):
    array = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    array.flat[0] = 255
    same = tiff(array, orientation=orientation)
    floats = tiff(array.astype(np.float32), orientation=orientation)
    assert np.array_equal(read(tmp_path, floats), read(tmp_path, same))
    assert picture_sizes(floats) == picture_sizes(same)


def test_white_is_zero(tmp_path):
    array = np.uint16([[0, 65535, 16384]])
    assert read(tmp_path, tiff(array, photometric=0))[0, :, 0].tolist() == [255, 0, 191]


@pytest.mark.filterwarnings("ignore")
def test_broken_tiffs_are_refused_in_one_line(tmp_path):
    whole = tiff(np.zeros((4, 6, 3), np.float32))
    for cut in (8, 9, 40, 100, len(whole) - 10):
        (tmp_path / "a.tif").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="a.tif: cannot be read as a picture") as error:
            decode(str(tmp_path / "a.tif"))
        assert "\n" not in str(error.value)


def test_8_bits_are_left_alone(tmp_path):
    dark = np.full((4, 6, 3), 3, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(dark).save(buffer, "TIFF")
    assert np.array_equal(read(tmp_path, buffer.getvalue()), dark)
