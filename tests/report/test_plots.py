"""Plots: what they are made of, and no plot where there is nothing to plot."""

import matplotlib

from imbdet.report import plots, read_run
from imbdet.report.run import Run
from imbdet.report.tables import ClassRow


def lines_of(split, tag, values):
    return [{"iteration": 10 * (i + 1), "split": split, tag: value} for i, value in enumerate(values)]


def test_series_skips_null_and_the_other_split(run_dir):
    run = read_run(run_dir)
    assert run.series("val", "AP/APr") == ([], [])
    assert run.series("train", "loss/total")[0] == [20, 40, 60, 80, 100]
    assert run.tags("train", "loss/") == ["loss/total", "loss/rpn_cls", "loss/cls"]
    assert run.last("val", "AP/AP") == 0.25 and run.last("val", "nothing") is None and run.iterations == 100


def test_run_without_numbers_has_no_plots():
    run = Run(folder=None)
    assert plots.loss_curve(run) == plots.ap_curve(run) == plots.ap_against_count([]) == ""
    assert plots.share_plots(run) == plots.positive_plots(run) == plots.iou_plots(run) == []


def test_plots_name_their_lines(run_dir):
    run = read_run(run_dir)
    loss = plots.loss_curve(run)
    assert loss.startswith('<svg role="img" aria-label="Training loss"') and "width=" not in loss.split(">")[0]
    assert ">rpn_cls<" in loss and ">total<" in loss
    assert ">AP50<" in plots.ap_curve(run) and ">AP rare<" not in plots.ap_curve(run)
    shares = plots.share_plots(run)
    assert len(shares) == 2 and "loss, RPN<" in shares[0] and "loss, RoI head<" in shares[1]
    assert ">foreground<" in shares[0] and len(plots.positive_plots(run)) == len(plots.iou_plots(run)) == 2


def test_groups_replace_foreground_where_they_are_known():
    run = Run(folder=None)
    for i in (10, 20):
        line = {"iteration": i, "split": "train", "share/background": 0.5, "share/foreground": 0.5}
        run.metrics.append(line | {"share/rare": 0.1, "share/common": 0.1, "share/frequent": 0.3})
    (plot,) = plots.share_plots(run)
    assert ">rare<" in plot and ">foreground<" not in plot and "classification loss<" in plot


def test_ap_against_count_leaves_out_classes_without_ap_or_boxes():
    rows = [ClassRow("a", 0.5, 0.6, 100, 5, "frequent"), ClassRow("b", 0.2, 0.3, 4, 5, "rare")]
    gone = [ClassRow("c", None, None, 9, 0, "common"), ClassRow("d", 0.1, 0.1, 0, 3, "rare")]
    plot = plots.ap_against_count(rows + gone)
    assert ">a<" in plot and ">b<" in plot and ">c<" not in plot and ">d<" not in plot
    assert plots.ap_against_count(rows[:1]) == ""


def test_one_wild_first_loss_does_not_set_the_scale():
    assert plots._upper([1000.0] + [2.0] * 60) < 3


def test_settings_of_matplotlib_are_left_as_they_were(run_dir):
    before = dict(matplotlib.rcParams)
    plots.loss_curve(read_run(run_dir))
    assert dict(matplotlib.rcParams) == before
