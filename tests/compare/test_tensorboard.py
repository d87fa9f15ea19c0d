"""TensorBoard, read back: every arm in one folder, a layout that overlays them, a session a run."""

import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from imbdet.compare.results import link_events, read_results
from imbdet.compare.structures import RunRecord
from imbdet.report.tensorboard import write_tensorboard


@pytest.fixture(scope="module")
def board(finished_grid, tmp_path_factory):
    root = tmp_path_factory.mktemp("board") / "grid"
    shutil.copytree(finished_grid, root, symlinks=True)
    failed = RunRecord("other arm", 0, "runs/other_arm/seed_0", "failed", "diverged")
    write_tensorboard(root, [*read_results(root), failed])
    return write_tensorboard(root, [*read_results(root), failed])  # twice: nothing is there twice


def test_all_arms_are_in_one_folder(board):
    runs = EventMultiplexer().AddRunsFromDirectory(str(board)).Runs()
    curves = {f"{arm}/seed_0/{split}" for arm in ("baseline", "focal_loss") for split in ("train", "val")}
    assert curves < set(runs)
    assert set(runs) - curves == {"layout", "hparams/baseline/seed_0", "hparams/focal_loss/seed_0"}
    events = EventAccumulator(str(board / "focal_loss" / "seed_0" / "train")).Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [5, 10, 15, 20]
    assert (board / "focal_loss" / "seed_0").is_symlink()


def test_the_layout_has_a_plot_for_ap_and_for_each_loss(board):
    events = EventAccumulator(str(board / "layout")).Reload()
    (tensor,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(tensor.tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for part in layout.category for chart in part.chart}
    assert charts["AP"] == ["^AP/AP$"] and charts["APr"] == ["^AP/APr$"]
    assert {"loss/total", "loss/cls", "loss/box_reg"} <= set(charts) and charts["loss/cls"] == ["^loss/cls$"]


def test_a_session_has_arm_remedies_and_seed_and_the_last_metrics(board):
    events = EventAccumulator(str(board / "hparams" / "focal_loss" / "seed_0")).Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    told = {k: v.string_value or v.number_value for k, v in content.session_start_info.hparams.items()}
    assert told == {"arm": "focal_loss", "remedies": "focal_loss", "seed": 0.0}
    record = next(r for r in read_results(board.parent) if r.arm == "focal_loss")
    assert events.Scalars("final/AP")[0].value == pytest.approx(record.metrics["AP"])
    assert "final/APl" not in events.Tags()["scalars"]  # not defined here


def test_where_links_are_not_possible_events_are_copied(finished_grid, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no links here")

    root = tmp_path / "grid"
    shutil.copytree(finished_grid, root, symlinks=True)
    monkeypatch.setattr("os.symlink", refuse)
    link_events(root, "baseline", 0)
    board = write_tensorboard(root, read_results(root))
    assert (board / "baseline" / "seed_0" / "train").is_dir() and not (board / "baseline" / "seed_0").is_symlink()
