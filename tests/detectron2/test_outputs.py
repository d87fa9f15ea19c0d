"""What detectron2 leaves on disk: `imbdet evaluate` and `imbdet diagnose` read it."""

import json

import pytest

from imbdet.commands import diagnose, evaluate
from imbdet.runs import RunFolder


@pytest.fixture
def written(tmp_path):
    """A train and a val file, and the output folder of a training that detectron2 evaluated: of 12 objects 9 are found,
    with two false alarms.
    """
    images = [{"id": 7 + i, "file_name": f"{i}.png", "height": 100, "width": 100} for i in range(6)]
    rows = [(7 + i, 3 + 4 * j, [10.0 + 40 * j, 10.0, 30.0, 30.0]) for i in range(6) for j in range(2)]
    boxes = [
        {"id": n + 1, "image_id": i, "category_id": c, "bbox": b, "area": 900.0, "iscrowd": 0}
        for n, (i, c, b) in enumerate(rows)
    ]
    categories = [{"id": 3, "name": "many"}, {"id": 7, "name": "few"}]
    truth = {"images": images, "annotations": boxes, "categories": categories}
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").write_text(json.dumps(truth))
    found = [
        {"image_id": i, "category_id": c, "bbox": b, "score": 0.9 - 0.01 * n, "segmentation": {"size": [100, 100]}}
        for n, (i, c, b) in enumerate(rows[:9])
    ]
    found += [{**found[0], "bbox": [60.0, 60.0, 20.0, 20.0], "score": 0.95}, {**found[1], "score": 0.3}]
    out = tmp_path / "output"
    (out / "inference").mkdir(parents=True)
    (out / "inference" / "coco_instances_results.json").write_text(json.dumps(found))
    (out / "config.yaml").write_text("MODEL:\n  META_ARCHITECTURE: GeneralizedRCNN\n")
    (out / "model_final.pth").write_bytes(b"not ours")
    lines = [{"iteration": 19, "total_loss": 2.5, "bbox/AP": float("nan")}, {"iteration": 39, "total_loss": 1.5}]
    (out / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_evaluate_reads_its_results(written, capsys):
    results = written / "output" / "inference" / "coco_instances_results.json"
    args = ["--annotations", str(written / "val.json"), "--results", str(results), "--out", str(written / "a.json")]
    assert evaluate.main(args) == 0
    assert "11 detections" in capsys.readouterr().out
    per_class = {row["name"]: row["AP"] for row in json.loads((written / "a.json").read_text())["per_class"]}
    assert 0.6 < per_class["few"] < per_class["many"] < 0.7


def test_diagnose_reads_its_folder(written):
    paths = [str(written / "train.json"), str(written / "val.json")]
    run = ["--run", str(written / "output"), "--no-pictures"]
    assert diagnose.main([*paths, *run, "--out", str(written / "page")]) == 0
    report = json.loads((written / "page" / "report.json").read_text())
    rows = {row["name"]: row for row in report["sections"]["run"]["rows"]}
    assert rows["many"]["boxes"] == 6 and 0 < rows["many"]["AP"] < 1 and rows["few"]["recall"] < 1
    with pytest.raises(ValueError, match="was written by detectron2: name its data, too"):
        diagnose.main([*run, "--out", str(written / "page")])


def test_its_numbers_are_those_of_a_run(written):
    run = RunFolder(written / "output")
    assert run.of_detectron2 and [line["total_loss"] for line in run.metrics()] == [2.5, 1.5]
    (written / "output" / "metrics.jsonl").write_text('{"iteration": 1}\n')
    assert not run.of_detectron2 and run.metrics() == [{"iteration": 1}]
