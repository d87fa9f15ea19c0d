"""A run carries its classes: it works without its data, on data of another order, and refuses to go on with others.

The detector of these tests finds a class by its color and learns nothing, so what it finds is known beforehand.
"""

import json
import shutil
import unicodedata
import warnings

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import imbdet
from imbdet.commands import run as run_verb
from imbdet.config import LazyCall as L
from imbdet.config import instantiate, trust
from imbdet.data.augment import Compose, ResizeShortestEdge
from imbdet.data.class_names import TrainedOn
from imbdet.data.datasets.folder import coco_folder
from imbdet.data.loader import EvalLoader, TrainLoader
from imbdet.data.statistics import num_classes
from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.origin import without_data
from imbdet.engine.trained import evaluate_checkpoint, load_run
from imbdet.engine.weights import read_names
from imbdet.modeling.class_rows import by_class
from imbdet.runs import RunFolder
from tests.conftest import TINY_COLORS
from tests.engine.fakes import fake_config

NAMES = ["disc", "bar", "rare box"]
COLORS = [list(TINY_COLORS[i]) for i in (1, 3, 7)]


class Colors(nn.Module):
    """One box around all pixels of a class's color; the rows of `colors` (K, 3) are by class."""

    def __init__(self, num_classes, colors=()):
        super().__init__()
        rows = torch.tensor([*colors, *[[0.0] * 3] * num_classes], dtype=torch.float32)[:num_classes]
        self.colors = nn.Parameter(rows)
        by_class(self)

    def forward(self, images, targets=None):
        if self.training:
            return {"loss": (self.colors * 0).sum()}, {}
        return [self.find(image) for image in images]

    def find(self, image):
        boxes, labels = [], []
        for label, color in enumerate(self.colors.detach()):
            rows, columns = ((image - color.view(3, 1, 1)).abs().amax(dim=0) < 40).nonzero().unbind(1)
            if len(rows) > 20:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                labels.append(label)
        boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
        return {
            "boxes": boxes,
            "labels": torch.tensor(labels, dtype=torch.long),
            "scores": torch.full((len(boxes),), 0.9),
        }


def config(root, output, **train_keys):
    cfg = fake_config(output, "train.max_iter=1", "optimizer.lr=0", "train.ema.enabled=false")
    OmegaConf.set_struct(cfg, False)
    cfg.data = dict(
        root=str(root),
        train=L(coco_folder)(root="${data.root}", split="train"),
        val=L(coco_folder)(root="${data.root}", split="val"),
    )
    cfg.model = L(Colors)(num_classes=L(num_classes)(records="${data.train}"), colors=COLORS)
    resize = L(ResizeShortestEdge)(short_edge_length=80)
    cfg.dataloader = dict(
        train=L(TrainLoader)(records="${data.train}", batch_size=2, augment=L(Compose)(transforms=[]), num_workers=0),
        val=L(EvalLoader)(records="${data.val}", resize=resize, batch_size=2, num_workers=0),
    )
    cfg.train.update(train_keys)
    return cfg


@pytest.fixture(scope="module", autouse=True)
def trusted():
    trust(Colors.__module__)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_coco):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(config(tiny_coco, folder))
    return folder


def rewrite(root, change):
    """Change every annotation file of a folder of one's own."""
    for path in root.glob("instances_*.json"):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
    return root


def exchanged(document):
    """Other ids for the same classes: the order of the labels is bar, rare box, disc."""
    new = {1: 90, 3: 2, 7: 5}
    for category in document["categories"]:
        category["id"] = new[category["id"]]
    for annotation in document["annotations"]:
        annotation["category_id"] = new[annotation["category_id"]]


def renamed(**names):
    def change(document):
        for category in document["categories"]:
            category["name"] = names.get(category["name"], category["name"])

    return change


def added(document):
    document["categories"].append({"id": 9, "name": "star"})


def dropped(document):
    document["categories"] = [c for c in document["categories"] if c["name"] != "bar"]
    document["annotations"] = [a for a in document["annotations"] if a["category_id"] != 3]


def evaluated(finished, root, **options):
    """On the training pictures, which hold every class."""
    cfg = imbdet.load_config(finished, overrides=[f"data.root={root}", "data.val.split=train"])
    return evaluate_checkpoint(cfg, RunFolder(finished).checkpoint(), **options)[0]


def test_every_checkpoint_and_the_folder_hold_the_classes(finished, tiny_coco):
    for name in ("best.pth", "last.pth"):
        carried = torch.load(finished / name, weights_only=True)["trained_on"]
        assert carried == RunFolder(finished).trained_on()
    assert (carried["class_names"], carried["num_classes"]) == (NAMES, 3)
    records = coco_folder(str(tiny_coco), "train")
    assert carried["data_fingerprint"] == records.fingerprint() and carried["num_images"] == 8
    assert carried["boxes"] == records.class_counts().tolist() and carried["category_ids"] == [1, 3, 7]
    assert carried["preprocessing"]["resize"]["short_edge_length"] == 80


@pytest.mark.parametrize("what", ["folder", "best.pth"])
def test_a_run_predicts_without_its_data(tmp_path, tiny_coco_copy, what, capsys):
    """The folder moved, or one file of it; the data set is gone."""
    train(config(tiny_coco_copy, tmp_path / "run"))
    picture = tmp_path / "photo.jpg"
    (tiny_coco_copy / "images" / "train" / "train_0.jpg").rename(picture)
    shutil.rmtree(tiny_coco_copy)
    run = tmp_path / "elsewhere" / what
    run.parent.mkdir()
    (tmp_path / "run" / ("" if what == "folder" else what)).rename(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = load_run(run)
    assert detector.class_names == tuple(NAMES) and detector.category_ids == (1, 3, 7)
    assert detector.predict(picture)["names"] == ["rare box"]
    assert run_verb("predict", ["--run", str(run), "--out", str(tmp_path / "out"), str(picture)]) == 0
    document = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(a["category_id"], a["category_name"]) for a in document["annotations"]] == [(7, "rare box")]
    assert "1 objects" in capsys.readouterr().out


def test_exchanged_ids_give_the_same_numbers(finished, tiny_coco, tiny_coco_copy, tmp_path):
    before, after = evaluated(finished, tiny_coco), evaluated(finished, rewrite(tiny_coco_copy, exchanged))
    assert before["AP"] > 0.1 and after.metrics == before.metrics
    rows = [
        {row["name"]: (row["AP"], row["boxes"], row["train_boxes"]) for row in r.per_class} for r in (before, after)
    ]
    assert rows[0] == rows[1] and [row["name"] for row in after.per_class] == ["bar", "rare box", "disc"]
    assert after.warnings == before.warnings and after.notes == before.notes
    alone = shutil.copy(finished / "best.pth", tmp_path / "alone.pth")
    words = ["--run", str(alone), f"data.root={tiny_coco_copy}", "data.val.split=train", "--out", f"{tmp_path}/m.json"]
    assert run_verb("evaluate", [*words, "--save-detections", f"{tmp_path}/d.json"]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["AP"] == before["AP"]
    assert {row["category_id"] for row in json.loads((tmp_path / "d.json").read_text())} <= {90, 2, 5}


@pytest.mark.filterwarnings("ignore:1 classes are not in the train data")
def test_classes_that_one_side_lacks(finished, tiny_coco, tiny_coco_copy):
    """bar is called star: the model does not know star (left out, or AP 0), and its bars are dropped."""
    before = {row["name"]: row["AP"] for row in evaluated(finished, tiny_coco).per_class}
    root = rewrite(tiny_coco_copy, renamed(bar="star"))
    with pytest.warns(UserWarning, match="1 of 3 classes of the data are not known to the model"):
        result = evaluated(finished, root)
    assert before["bar"] > 0 and result["AP"] == pytest.approx(np.mean([before["disc"], before["rare box"]]), abs=1e-12)
    row = next(row for row in result.per_class if row["name"] == "star")
    assert (
        row["AP"] is None
        and row["boxes"] > 0
        and result.objects == sum(r["boxes"] for r in result.per_class) - row["boxes"]
    )
    assert any("'star (" in text for text in result.warnings)
    assert any("1 classes of the model are not in the data" in text and "'bar (" in text for text in result.notes)
    with pytest.warns(UserWarning, match="count as not found"):
        counted = evaluated(finished, root, count_unknown=True)
    assert counted["AP"] == pytest.approx(np.mean([before["disc"], 0.0, before["rare box"]]))


def test_names_in_another_unicode_form_are_the_same(tmp_path, tiny_coco_copy):
    train(config(rewrite(tiny_coco_copy, renamed(bar="b\u00e4r")), tmp_path / "run"))
    before = evaluated(tmp_path / "run", tiny_coco_copy)
    root = rewrite(tiny_coco_copy, renamed(**{"b\u00e4r": unicodedata.normalize("NFD", " b\u00e4r")}))
    assert evaluated(tmp_path / "run", root).metrics == before.metrics


def test_no_class_in_common_is_an_error(finished, tiny_coco_copy):
    root = rewrite(tiny_coco_copy, renamed(disc="a", bar="b", **{"rare box": "c"}))
    with pytest.raises(ValueError, match="share no class. The model knows 'disc', 'bar', 'rare box'; the data has 'a'"):
        evaluated(finished, root)


@pytest.mark.parametrize("change", [exchanged, renamed(bar="beam"), added, dropped])
def test_a_run_is_not_resumed_with_other_classes(finished, tiny_coco_copy, tmp_path, change):
    folder = tmp_path / "run"
    train(config(tiny_coco_copy, folder))
    rewrite(tiny_coco_copy, change)
    now = list(coco_folder(str(tiny_coco_copy), "train").class_names)
    with pytest.raises(ValueError) as error:
        train(config(tiny_coco_copy, folder, max_iter=1), resume=True)
    assert "learned: 'disc', 'bar', 'rare box'\n" in str(error.value)
    assert "now:     " + ", ".join(map(repr, now)) in str(error.value)


def test_the_same_classes_resume_and_changed_data_is_told(tiny_coco_copy, tmp_path, capsys):
    folder = tmp_path / "run"
    train(config(tiny_coco_copy, folder))
    rewrite(tiny_coco_copy, lambda document: document["annotations"].pop())
    train(config(tiny_coco_copy, folder), resume=True)
    assert "the training data has changed" in capsys.readouterr().out


def test_init_checkpoint_takes_the_rows_of_known_classes(finished, tiny_coco_copy, tmp_path, capsys):
    rewrite(tiny_coco_copy, exchanged)
    rewrite(tiny_coco_copy, renamed(bar="star"))  # star, rare box, disc
    cfg = config(tiny_coco_copy, tmp_path / "next", init_checkpoint=str(finished / "last.pth"), init_strict=True)
    cfg.model.colors = [[7, 7, 7]] * 3
    train(cfg)
    rows = load_file(tmp_path / "next" / "last.pth")["model"]["colors"].tolist()
    assert rows == [[7, 7, 7], COLORS[2], COLORS[0]]
    said = capsys.readouterr().out
    assert "classes kept by name: 'rare box', 'disc'" in said and "classes initial values: 'star'" in said
    assert "classes not used: 'bar'" in said


def without_classes(finished, folder, **more):
    """The run as an older version wrote it."""
    shutil.copytree(finished, folder)
    (folder / "trained_on.json").unlink()
    for name in ("best.pth", "last.pth"):
        state = load_file(folder / name)
        del state["trained_on"]
        torch.save(state | more, folder / name)
    return folder


def test_an_older_checkpoint_warns_and_reads_the_data(finished, tmp_path, tiny_coco, capsys):
    old = without_classes(finished, tmp_path / "old")
    with pytest.warns(UserWarning, match="before checkpoints carried their classes.*order and on what data is unknown"):
        detector = load_run(old)
    assert detector.class_names == tuple(NAMES) and detector.data is None
    with pytest.warns(UserWarning, match="before checkpoints carried"):
        assert evaluated(old, tiny_coco).metrics == evaluated(finished, tiny_coco).metrics
    capsys.readouterr()
    train(config(tiny_coco, old), resume=True)
    assert "warning: the checkpoint in" in capsys.readouterr().out
    assert load_file(old / "last.pth")["iteration"] == 1


def test_classes_of_a_checkpoint_that_does_not_say(finished, tmp_path, tiny_coco):
    """train.init_classes names them; without, the rows go as they lie, as before."""
    old = without_classes(finished, tmp_path / "old")
    start = {"init_checkpoint": str(old / "last.pth")}
    named = config(tiny_coco, tmp_path / "a", **start, init_classes=["rare box", "disc", "bar"])
    train(named)
    assert load_file(tmp_path / "a" / "last.pth")["model"]["colors"].tolist() == [COLORS[1], COLORS[2], COLORS[0]]
    train(config(tiny_coco, tmp_path / "b", **start))
    assert load_file(tmp_path / "b" / "last.pth")["model"]["colors"].tolist() == COLORS
    contradiction = {"init_checkpoint": str(finished / "last.pth"), "init_classes": ["a", "b", "c"]}
    with pytest.raises(ValueError, match="holds the classes 'disc', .*train.init_classes says 'a', 'b', 'c'"):
        train(config(tiny_coco, tmp_path / "c", **contradiction))


def test_names_of_classes_from_files(tmp_path):
    coco = read_names("coco")
    assert (len(coco), coco[0], coco[-1], coco[11]) == (80, "person", "toothbrush", "stop sign")
    (tmp_path / "a.txt").write_text("\ufeffcat\n\n dog \n", encoding="utf-8")
    (tmp_path / "b.json").write_text('["cat", "dog"]')
    categories = [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}]
    (tmp_path / "c.json").write_text(json.dumps({"categories": categories}))
    for name in ("a.txt", "b.json", "c.json"):
        assert read_names(str(tmp_path / name)) == ["cat", "dog"]
    assert read_names("") == [] and read_names(["x"]) == ["x"]
    with pytest.raises(FileNotFoundError, match="train.init_classes=no.txt"):
        read_names("no.txt")
    with pytest.raises(ValueError, match="'x' more than once"):
        read_names(["x", "y", "x"])
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(ValueError, match="d.json holds neither"):
        read_names(str(tmp_path / "d.json"))


@pytest.mark.parametrize("remedies", [["class_weights"], ["focal_loss"]])
def test_whatever_asks_the_data_is_answered_without_it(tiny_coco, remedies):
    """The same model, weights and class tables, from records and from what a checkpoint carries of them."""
    small = "model.roi_heads.box_head.widths=[16,16]"
    cfg = imbdet.load_config("baselines/faster_rcnn_lite0_custom", remedies, [f"data.root={tiny_coco}", small])
    carried = json.loads(json.dumps(TrainedOn.of(instantiate(cfg.data.train)).to_dict()))
    bare = imbdet.load_config("baselines/faster_rcnn_lite0_custom", remedies, ["data.root=/nowhere", small])
    models = []
    for one in (cfg, without_data(bare, TrainedOn.read(carried, "a test"))):
        torch.manual_seed(0)
        models.append(instantiate(one.model))
    a, b = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_no_run_is_refused_by_name(finished, tmp_path):
    torch.save({"model": {}}, tmp_path / "bare.pth")
    with pytest.raises(ValueError, match="bare.pth holds no config.*--config C --checkpoint"):
        load_run(tmp_path / "bare.pth")
    with pytest.raises(ValueError, match="which='best' has no meaning"):
        load_run(finished / "last.pth", which="best")
    state = load_file(finished / "best.pth")
    state["trained_on"]["boxes"] = [1]
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="odd.pth: what it says of its training data cannot be read .*3 class names"):
        load_run(tmp_path / "odd.pth")
