"""Decoding against PIL, for every kind of file, and what a wrong file says."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from imbdet.data.images import FileImages, decode, picture_sizes, verify

from .conftest import noise


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    return exif


KINDS = {
    "jpeg": lambda p: encoded(p, "JPEG"),
    "gray jpeg": lambda p: encoded(p.convert("L"), "JPEG"),
    "cmyk jpeg": lambda p: encoded(p.convert("CMYK"), "JPEG"),
    "png": lambda p: encoded(p, "PNG"),
    "png with alpha": lambda p: encoded(p.convert("RGBA"), "PNG"),
    "palette png": lambda p: encoded(p.convert("P"), "PNG"),
    "black and white png": lambda p: encoded(p.convert("1"), "PNG"),
    "bmp": lambda p: encoded(p, "BMP"),
    "tiff": lambda p: encoded(p, "TIFF"),
    "gif": lambda p: encoded(p.convert("P"), "GIF"),
    "webp": lambda p: encoded(p, "WEBP"),
    "turned jpeg": lambda p: encoded(p, "JPEG", exif=turned()),
    "turned png": lambda p: encoded(p, "PNG", exif=turned()),
    "turned webp": lambda p: encoded(p, "WEBP", exif=turned()),
    "turned tiff": lambda p: encoded(p, "TIFF", exif=turned()),
    "avif": lambda p: encoded(p, "AVIF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_decode_equals_pil_with_orientation(kind, tmp_path):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / "picture"
    path.write_bytes(KINDS[kind](noise(30, 20)))
    image = decode(str(path))
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert np.array_equal(image.permute(1, 2, 0).numpy(), wanted)
    size = (20, 30) if kind.startswith("turned") else (30, 20)
    assert picture_sizes(str(path)) == (size, (30, 20)) and image.shape == (3, size[1], size[0])
    verify(path.read_bytes())


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_become_the_upper_8(format, tmp_path):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    path = tmp_path / "deep"
    path.write_bytes(encoded(Image.fromarray(values), format))
    assert np.array_equal(decode(str(path)).numpy(), np.repeat((values >> 8)[None], 3, axis=0))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP"])
def test_truncated_uses_the_readable_part_and_says_so(format, tmp_path):
    whole = encoded(noise(80, 60), format)
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.warns(UserWarning, match=r"cut \(image id 4\): .*the readable part is used"):
        image = decode(str(path), " (image id 4)")
    path.write_bytes(whole)
    rows = slice(-8, None) if format == "BMP" else slice(8)  # a BMP begins with the lowest row
    assert image.shape == (3, 60, 80) and np.array_equal(image[:, rows], decode(str(path))[:, rows])
    with pytest.raises(ValueError, match="truncated"):
        verify(whole[: len(whole) * 2 // 3])


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"<html>404</html>", "no picture format.*<html>404")]
)
def test_no_picture(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"a.jpg.*cannot be read as a picture: .*{message}"):
        decode(str(path))
    with pytest.raises(ValueError, match=message):
        verify(content)
    assert picture_sizes(str(path)) is None


def test_file_images_names_and_errors(tmp_path):
    noise(30, 20).save(tmp_path / "a.png")
    noise(30, 20).save(tmp_path / "ü.png")
    images = FileImages(str(tmp_path), ["a.png", "ü.png", "no.png"], [7, 8, 9], [20, 30, 5], [30, 20, 5])
    assert len(images) == 3 and [images.name(i) for i in range(3)] == ["a.png", "ü.png", "no.png"]
    assert images[0].shape == (3, 20, 30)
    with pytest.raises(ValueError, match=r"ü.png \(image id 8\).*picture is 30x20.*annotations say 20x30"):
        images[1]
    with pytest.raises(FileNotFoundError, match=r"no.png \(image id 9\): no such picture"):
        images[2]


def test_size_before_orientation_is_explained(tmp_path):
    (tmp_path / "a.jpg").write_bytes(KINDS["turned jpeg"](noise(30, 20)))
    with pytest.raises(ValueError, match="before its EXIF orientation"):
        FileImages(str(tmp_path), ["a.jpg"], [1], [20], [30])[0]
    assert FileImages(str(tmp_path), ["a.jpg"], [1], [30], [20])[0].shape == (3, 30, 20)


def test_good_pictures_give_no_warning(tmp_path):
    noise(30, 20).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torchvision")
        decode(str(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", ["jpeg", "turned jpeg", "palette png", "gray jpeg"])
def test_without_torchvisions_decoder_pil_gives_the_same(kind, tmp_path, monkeypatch):
    path = tmp_path / "picture"
    path.write_bytes(KINDS[kind](noise(30, 20)))
    wanted = decode(str(path))
    monkeypatch.setattr("imbdet.data.images.decode_image", None)
    assert np.array_equal(decode(str(path)), wanted)
