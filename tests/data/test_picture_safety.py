"""What annotations of a stranger name: only regular files in the folder of pictures are opened, and no huge ones."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from imbdet.data import images
from imbdet.data.checks import check_before_training
from imbdet.data.checks.findings import Findings
from imbdet.data.checks.pictures import levels
from imbdet.data.checks.run import check_splits_fully, open_splits
from imbdet.data.datasets.coco import load_coco
from imbdet.data.images import FileImages, NotOpened, decode, picture_sizes, read_picture, verify
from imbdet.data.picture_names import leads_outside

from .conftest import noise


def bomb(width=100_000, height=100_000):
    """A PNG whose header promises so many pixels."""
    parts = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(10**5))
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("a.jpg", False),
        ("sub/../a.jpg", False),
        ("a..b.jpg", False),
        ("/dev/zero", True),
        ("../a.jpg", True),
        ("sub/../../a.jpg", True),
        ("..", True),
        ("/data/images/a.jpg", False),
        ("/data/images2/a.jpg", True),
        ("/data/images/../b.jpg", True),
    ],
)
def test_names_that_lead_outside(name, outside):
    assert leads_outside("/data/images", name) is outside


@pytest.mark.parametrize(
    "name",
    ["/dev/zero", "../secret.png", "pipe.png", "folder.png", "link.png", "a\0b.png", "loop.png", "gone.png"],
)
def test_every_name_of_a_kind_is_a_finding_in_the_check_and_in_training(tmp_path, write, coco, pictures, name):
    folder = pictures(coco)
    noise(64, 48).save(tmp_path / "secret.png")
    os.mkfifo(os.path.join(folder, "pipe.png"))
    os.mkdir(os.path.join(folder, "folder.png"))
    os.symlink("/dev/zero", os.path.join(folder, "link.png"))
    os.symlink("loop.png", os.path.join(folder, "loop.png"))
    os.symlink("nowhere", os.path.join(folder, "gone.png"))
    coco["images"][0]["file_name"] = name
    path = write(coco, "annotations/train.json")
    findings = Findings()
    for decoded in (True, False):
        splits = open_splits([path], folder, findings)
        check_splits_fully(splits, findings, decode=decoded)
    outside, missing = name.startswith(("/", "..")), name[0] == "a" or name in ("loop.png", "gone.png")
    code = "picture_outside" if outside else "picture_missing" if missing else "picture_refused"
    assert findings.count(code) == 2, findings.summary()
    records = load_coco(path, folder)
    if outside:
        with pytest.raises(ValueError, match="picture_outside"):
            check_before_training(records)
        with pytest.raises(ValueError, match="picture_outside"):
            check_before_training(records.subset([1, 0]))
    with pytest.raises((ValueError, FileNotFoundError)):
        records.images[0]
    assert records.images[1].shape == (3, 50, 40)


def test_an_absolute_name_in_the_folder_and_a_link_to_a_file_are_read(tmp_path):
    (tmp_path / "images").mkdir()
    noise(8, 6).save(tmp_path / "elsewhere.png")
    os.symlink(tmp_path / "elsewhere.png", tmp_path / "images" / "link.png")
    root = str(tmp_path / "images")
    read = FileImages(root, ["link.png", f"{root}/link.png", "./link.png", str(tmp_path / "elsewhere.png")])
    assert read[0].equal(read[1]) and read[0].equal(read[2]) and read.outside() == [3]
    with pytest.raises(FileNotFoundError, match="leads out of the folder"):
        read[3]


def test_a_name_that_was_written_elsewhere_is_found_in_the_folder_not_outside(tmp_path):
    """../a.png is there, but so is a.png in the folder: that one is meant."""
    (tmp_path / "images").mkdir()
    noise(8, 6, 0).save(tmp_path / "a.png")
    noise(8, 6, 1).save(tmp_path / "images" / "a.png")
    read = FileImages(str(tmp_path / "images"), ["../a.png"])
    assert read.outside() == [] and read[0].equal(decode(str(tmp_path / "images" / "a.png")))


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch, write, coco, pictures):
    (tmp_path / "bomb.png").write_bytes(bomb())
    with pytest.raises(NotOpened, match="bomb.png: 100000x100000 pixels are more than 178956970"):
        decode(str(tmp_path / "bomb.png"))
    with pytest.raises(NotOpened, match="IMBDET_MAX_PIXELS"):
        verify(bomb())
    assert picture_sizes(bomb())[0] == (100_000, 100_000)
    folder = pictures(coco)
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48 - 1)
    for decoded in (True, False):
        findings = Findings()
        check_splits_fully(open_splits([write(coco, "train.json")], folder, findings), findings, decode=decoded)
        assert findings.count("picture_refused") == 1 and findings.count("picture_truncated") == 0
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48)
    assert decode(os.path.join(folder, "a.png")).shape == (3, 48, 64)
    monkeypatch.setattr(images, "MAX_PIXELS", 10)
    with pytest.raises(NotOpened, match="bytes, more than 10 pixels take"):
        read_picture(os.path.join(folder, "a.png"))


def test_of_a_gif_one_frame_is_decoded(tmp_path, monkeypatch):
    frames = [noise(8, 6, seed).quantize(16) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(images, "decode_image", lambda *args, **kwargs: pytest.fail("all frames are decoded"))
    assert np.array_equal(decode(str(tmp_path / "a.gif")).permute(1, 2, 0), np.asarray(frames[0].convert("RGB")))


def test_nearly_constant_pictures_are_found(tmp_path, write, coco, pictures):
    """A float picture with values up to 0.02 is black to the eye: 0 to 5 of 255."""
    folder = pictures(coco)
    values = np.random.default_rng(0).random((48, 64), dtype=np.float32) * 0.02
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    write(buffer.getvalue(), "images/a.png")
    findings = Findings()
    check_splits_fully(open_splits([write(coco, "train.json")], folder, findings), findings)
    (found,) = [f for f in findings if f.code == "picture_nearly_constant"]
    assert found.image_id == 5 and "0 to 5 of 0 to 255" in found.value


@pytest.mark.parametrize(
    ("values", "wanted"), [([7] * 1000, (7, 7)), ([0] * 500 + [255] * 500, (0, 255)), ([3] * 9999 + [255], (3, 3))]
)
def test_levels(values, wanted):
    assert levels(torch.tensor(values, dtype=torch.uint8).view(1, 1, -1).repeat(3, 1, 1)) == wanted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_damaged_pngs_do_not_end_the_process(tmp_path, mode):
    """Bytes of the compressed pixels changed, at which torchvision's decoder crashes in more than one of ten files."""
    buffer = io.BytesIO()
    noise(30, 20).convert(mode).save(buffer, "PNG")
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(buffer.getvalue())
        for place in rng.integers(45, len(data), 3):
            data[place] = rng.integers(256)
        (tmp_path / "a.png").write_bytes(data)
        try:
            assert decode(str(tmp_path / "a.png")).shape == (3, 20, 30)
        except ValueError as error:
            assert "cannot be read as a picture" in str(error)
