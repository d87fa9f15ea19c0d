import pytest
import torch

from imbdet.engine.progress import Clock, Progress, peak_memory

SCALARS = {
    "loss/total": 1.5,
    "loss/cls": 1.0,
    "loss/box": 0.5,
    "lr": 0.02,
    "memory/MiB": 300.0,
    "time/step": 0.25,
    "time/loader_wait_share": 0.1,
}


def test_lines_where_there_is_no_terminal(capsys):
    progress = Progress(total=100, start=40, epoch_length=8)
    progress.report(50, SCALARS)
    progress.say("said")
    line, said = capsys.readouterr().out.splitlines()
    for part in (
        "50/100 (epoch 6.25)",
        "loss 1.500",
        "cls 1.000 box 0.500",
        "lr 0.02",
        "300 MiB",
        "waits 10%",
        "eta 0:",
    ):
        assert part in line
    assert said == "said"


def test_other_processes_are_silent(capsys):
    progress = Progress(total=100, start=0, enabled=False)
    progress.report(50, SCALARS)
    progress.say("said")
    assert capsys.readouterr() == ("", "")


def test_clock_counts_images_and_waits():
    clock = Clock()
    batches = iter([([0] * 4, [0] * 4), ([0] * 4, [0] * 4)])
    for _ in range(2):
        clock.fetch(batches)
        clock.steps += 1
    scalars = clock.read(torch.device("cpu"), processes=2)
    assert 0 <= scalars["time/loader_wait_share"] <= 1
    images_a_step = scalars["time/images_per_second"] * scalars["time/step"]
    assert images_a_step == pytest.approx(2 * 4)  # over two processes
    assert scalars["memory/MiB"] == peak_memory(torch.device("cpu")) > 10
