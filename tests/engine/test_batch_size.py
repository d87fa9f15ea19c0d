"""train.batch_size=auto: with a memory by hand, out of memory, limits, refusals, a resumed run."""

import pytest
import torch

from imbdet.engine import batch_size
from imbdet.engine.batch_size import largest, with_batch_size
from imbdet.testing import tiny_config


class Meter:
    """A device of `memory` bytes, on which a batch takes base + images * each, and is out of memory above that."""

    def __init__(self, memory, base, each):
        self.memory, self.base, self.each, self.asked = memory, base, each, []

    def __call__(self, images):
        self.asked.append(images)
        peak = self.base + images * self.each
        return peak if peak <= self.memory else None


def test_a_batch_by_hand():
    """1000 bytes, 100 + 30 b: 16 takes 580, 32 is out of memory (1060), 24 takes 820, which is above 800."""
    meter = Meter(1000, 100, 30)
    assert largest(meter, 1000) == (24, 820)
    assert meter.asked == [1, 2, 4, 8, 16, 32, 24]


@pytest.mark.parametrize("each", [1, 3, 7, 40, 99, 301, 420])
@pytest.mark.parametrize("base", [0, 50, 333])
def test_between_the_limits_or_the_last_that_fits(base, each):
    """Naively: the found batch fits; it takes 80 % or more, or the next one would take more than 90 %."""
    size, peak = largest(Meter(1000, base, each), 1000)
    assert peak == base + size * each <= 900
    assert peak >= 800 or base + (size + 1) * each > 900


def test_few_images_and_too_large_ones():
    assert largest(Meter(1000, 0, 1), 1000, most=10) == (10, 10)
    with pytest.raises(ValueError, match="one image takes more than 90% of the 0.0 GiB free"):
        largest(Meter(1000, 950, 1), 1000)


def test_the_config_gets_the_number_and_a_resumed_run_keeps_it(monkeypatch, tmp_path):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(batch_size, "pick_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(batch_size, "peak_of", lambda cfg, images, device: Meter(1000, 100, 30)(images))
    cfg = tiny_config("retinanet", overrides=["train.batch_size=auto", f"train.output_dir={tmp_path}"])
    said = []
    found = with_batch_size(cfg, say=said.append)
    assert found.dataloader.train.batch_size == 24 and cfg.dataloader.train.batch_size != 24
    assert said[0].startswith("train.batch_size=auto: 24 images a batch")
    (tmp_path / "config.yaml").write_text("dataloader: {train: {batch_size: 7}}\n")
    assert with_batch_size(cfg, resume=True).dataloader.train.batch_size == 7
    plain = tiny_config("retinanet")
    assert with_batch_size(plain) is plain
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="in one process"):
        with_batch_size(cfg)


def test_refused_on_a_cpu_and_for_other_words(tmp_path):
    words = [f"train.output_dir={tmp_path}", "train.device=cpu"]
    with pytest.raises(ValueError, match="measures the memory of a GPU, but the device is cpu; give a number"):
        with_batch_size(tiny_config("retinanet", overrides=["train.batch_size=auto", *words]))
    with pytest.raises(ValueError, match="train.batch_size is 'large'; it may be auto"):
        with_batch_size(tiny_config("retinanet", overrides=["train.batch_size=large", *words]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_measured_on_a_gpu():
    cfg = tiny_config("retinanet", overrides=["train.device=cuda"])
    one, four = (batch_size.peak_of(cfg, images, torch.device("cuda", 0)) for images in (1, 4))
    assert 0 < one <= four
