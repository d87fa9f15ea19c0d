"""Configs that are data name what is meant for configs and nothing else; whatever they try, nothing is executed."""

import os
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

import imbdet
from imbdet.commands import run, verbs
from imbdet.config import LazyCall as L
from imbdet.config import allowed, config_of, instantiate, load_config, locate, save_config, trust

REFUSED = [
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "subprocess.run",
    "importlib.import_module",
    "pickle.loads",
    "torch.load",
    "torch.os.system",
    "torch.hub.load",
    "torch.nn.functional.os.system",
    "torch.nn.functional.importlib.import_module",
    "torch.nn.modules.module.warnings.warn",
    "torch.nn.Linear.__init__.__globals__.get",
    "torch.nn.Module.load_state_dict",
    "torch.optim.Optimizer.__init__.__builtins__.eval",
    "torchvision.os.system",
    "torchvision.io.write_file",
    "torchvision.datasets.utils.download_url",
    "torchvision.models.resnet.WeightsEnum.get_state_dict",
    "torchvision.models._api.WeightsEnum",
    "torchvision.models._api.load_state_dict_from_url",
    "timm.models.load_checkpoint",
    "timm.models._helpers.load_state_dict",
    "timm.models._hub.load_state_dict_from_hf",
    "timm.utils.CheckpointSaver",
    "fvcore.common.download.download",
    "fvcore.common.file_io.PathManager.open",
    "imbdet.cli.main",
    "imbdet.commands.run",
    "imbdet.config.files.os.system",
    "imbdet.config.files.run_file",
    "imbdet.data.images.os.system",
    "imbdet.modeling.backbones.torch.load",
    "imbdet.modeling.detectron2_weights.pickle.load",
    "imbdet.data.datasets.coco.builtins.eval",
    "imbdet.data.records.Path",
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_target_outside_the_list_is_refused_by_name(name):
    with pytest.raises(ValueError, match=r"is refused|has no|cannot be imported") as told:
        locate(name)
    assert repr(name) in str(told.value)
    with pytest.raises(ValueError, match="_target_"):
        instantiate({"_target_": name, "_partial_": True})


def test_refused_by_its_words_before_its_module_is_imported():
    sys.modules.pop("this", None)
    with pytest.raises(ValueError, match="'this.s' is refused: it is reached through this"):
        locate("this.s")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "torch.nn.Embedding.from_pretrained",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "torchvision.models.resnet18",
        "torchvision.ops.FrozenBatchNorm2d",
        "timm.create_model",
        "fvcore.common.param_scheduler.CosineParamScheduler",
        "imbdet.modeling.backbones.TinyBackbone",
        "imbdet.remedies.class_fg_bg.focal_loss.FocalLoss",
    ],
)
def test_what_configs_are_made_of_is_allowed(name):
    assert callable(locate(name))


def poisons(sentinel):
    """Configs that make `sentinel` if anything of them is executed, and the name that each is refused by."""
    shell = {"_target_": "os.system", "command": f"touch {sentinel}"}
    python = {"_target_": "builtins.eval", "_args_": [f"open({str(sentinel)!r}, 'w')"]}
    run = {"_target_": "subprocess.run", "args": ["touch", str(sentinel)], "_partial_": True}
    return {
        "a part": ({"backbone": shell}, "os.system"),
        "nested": ({"a": {"b": {"c": python}}}, "builtins.eval"),
        "in a list": ({"a": [1, [{"x": run}]]}, "subprocess.run"),
        "an argument": (
            {"norm": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": shell}},
            "os.system",
        ),
        "walks out": ({"x": {**shell, "_target_": "torch.nn.functional.os.system"}}, "torch.nn.functional.os.system"),
        "opens": (
            {"x": {"_target_": "imbdet.config.files.run_file", "path": "evil.py"}},
            "imbdet.config.files.run_file",
        ),
        "an interpolated name": ({"n": "os.system", "x": {**shell, "_target_": "${n}"}}, "${n}"),
        "a resolver": ({"x": "${oc.env:HOME}"}, "oc.env"),
        "a resolver in a name": ({"r": "oc.env", "x": "${${r}:HOME}"}, "resolver"),
        "a created node": ({"x": "${oc.create:{_target_: os.system, command: ls}}"}, "oc.create"),
    }


@pytest.mark.parametrize("kind", list(poisons("x")))
def test_a_poisoned_yaml_is_refused_when_it_is_loaded(kind, tmp_path):
    content, name = poisons(tmp_path / "sentinel")[kind]
    path = tmp_path / "config.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
    with pytest.raises(ValueError) as told:
        load_config(path)
    assert name in str(told.value) and str(path) in str(told.value)
    with pytest.raises(ValueError):
        config_of(content, "the config in best.pth")
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/object:os.x"])
def test_a_yaml_tag_builds_nothing(tag, tmp_path):
    (tmp_path / "config.yaml").write_text(f"x: {tag} ['touch {tmp_path}/sentinel']\n")
    with pytest.raises(ValueError, match="not YAML that can be read safely"):
        load_config(tmp_path)
    assert not (tmp_path / "sentinel").exists()


def test_aliases_that_grow_or_contain_themselves_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    for text in ("\n".join(lines), "a: &a\n  b: *a\n"):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ValueError, match="more than 100,000 values or 60 levels"):
            load_config(tmp_path)


@pytest.mark.parametrize("verb", ["predict", "evaluate", "train", "show_config"])
def test_a_strangers_run_folder_executes_nothing(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    cfg = OmegaConf.to_container(load_config("baselines/retinanet_shapes"))
    cfg["model"]["backbone"] = {"_target_": "os.system", "command": f"touch {tmp_path}/sentinel"}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    torch.save({"model": {}, "config": cfg, "iteration": 0}, folder / "best.pth")
    torch.save({}, folder / "last.pth")
    (tmp_path / "photo.jpg").write_bytes(b"not looked at")
    words = ["--run", "run"] if verb in ("predict", "evaluate") else ["--config", "run"]
    assert run(verb, [*words, *(["photo.jpg"] if verb == "predict" else [])]) == 2
    told = capsys.readouterr().err
    assert "model.backbone" in told and "'os.system' is refused" in told and "--trust os" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("place", ["model", "model.backbone", "data.train", "dataloader.val.resize"])
def test_a_strangers_checkpoint_alone_executes_nothing(place, tmp_path, monkeypatch, capsys):
    cfg = load_config("baselines/retinanet_lite0_custom")
    OmegaConf.set_struct(cfg, False)
    OmegaConf.update(cfg, place, {"_target_": "os.system", "command": f"touch {tmp_path}/sentinel"}, merge=False)
    content = OmegaConf.to_container(cfg)
    torch.save({"model": {}, "config": content, "iteration": 0}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=rf"best.pth: {place}._target_: 'os.system' is refused"):
        imbdet.load_run(tmp_path / "best.pth")
    assert run("evaluate", ["--run", str(tmp_path / "best.pth")]) == 2
    assert "'os.system' is refused" in capsys.readouterr().err and not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("verb", list(verbs()))
def test_every_verb_that_loads_a_config_or_a_run_can_be_told_to_trust(verb, capsys):
    with pytest.raises(SystemExit):
        run(verb, ["--help"])
    told = capsys.readouterr().out
    loads = any(f"{option} " in told for option in ("--config", "--run", "--runs", "--detector"))
    assert ("--trust MODULE" in told) == loads


def test_a_python_remedy_that_a_saved_config_lists_is_not_run(tmp_path, monkeypatch):
    evil = tmp_path / "evil.py"
    (tmp_path / "other.py").write_text("raise SystemExit")
    body = "baseline = ''\ndef apply(cfg):\n    cfg.train.seed = 9\n"
    evil.write_text(f"open({str(tmp_path / 'sentinel')!r}, 'w')\n{body}")
    cfg = load_config("baselines/retinanet_shapes")
    cfg.remedies = [str(tmp_path / "other.py")]
    save_config(cfg, tmp_path / "config.yaml")
    assert "focal_loss" in load_config(tmp_path, ["focal_loss"]).remedies
    with pytest.raises(ValueError, match="Python code that a file names"):
        load_config(tmp_path, [str(evil)], code=False)
    with pytest.raises(ValueError, match="Python code that a file names"):
        load_config(evil, code=False)
    assert not (tmp_path / "sentinel").exists()
    monkeypatch.setenv("IMBDET_TRUST", str(evil))
    assert load_config(tmp_path, [str(evil)], code=False) is not None and (tmp_path / "sentinel").exists()


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's own, `own_parts`; what a test trusts is forgotten after it."""
    (tmp_path / "own_parts.py").write_text("import os\nclass Part:\n    def __init__(self, **kw): self.kw = kw\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IMBDET_TRUST", "tests")
    monkeypatch.setattr(allowed, "_names", set())
    monkeypatch.setattr(allowed, "_targets", set(allowed._targets))
    yield "own_parts"
    sys.modules.pop("own_parts", None)


def test_trust_adds_a_module_and_no_walk_out_of_it(own_module, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("x: {_target_: own_parts.Part, n: 3}\n")
    with pytest.raises(ValueError, match="add --trust own_parts"):
        load_config(tmp_path / "c.yaml")
    assert run("show_config", ["--config", str(tmp_path / "c.yaml"), "--trust", own_module]) == 0
    assert instantiate(load_config(tmp_path / "c.yaml").x).kw == {"n": 3}
    assert os.environ["IMBDET_TRUST"] == "own_parts:tests"  # for processes started from here
    with pytest.raises(ValueError, match="it is reached through own_parts.os|defined in"):
        locate("own_parts.os.system")
    with pytest.raises(ValueError, match="dotted name of a module"):
        trust("not a module")


def test_a_python_config_adds_what_it_names_and_nothing_else(own_module, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("from imbdet.config import LazyCall as L\nfrom own_parts import Part\nmodel = L(Part)(n=1)\n")
    cfg = load_config(own)
    assert instantiate(cfg.model).kw == {"n": 1}
    save_config(cfg, tmp_path / "config.yaml")
    code = f"from imbdet.config import load_config; load_config({str(tmp_path)!r})"
    there = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    other = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True)
    assert "'own_parts.Part' is refused" in other.stderr  # another process has not been told
    subprocess.run([sys.executable, "-c", code], env={**there, "IMBDET_TRUST": "own_parts"}, check=True)


def test_a_trusted_resolver_may_be_called(own_module, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    (tmp_path / "c.yaml").write_text("a: {root: '${oc.env:PLACE}'}\n")
    with pytest.raises(ValueError, match="calls the resolver 'oc.env'"):
        load_config(tmp_path / "c.yaml")
    trust("oc.env")
    assert load_config(tmp_path / "c.yaml").a.root == "here"


def test_a_callable_that_python_holds_needs_no_name():
    assert instantiate(OmegaConf.create({"x": L(dict)(a=1)}).x) == {"a": 1}


def test_a_config_that_was_read_once_is_checked_again_when_less_is_trusted(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    path.write_text("model: {_target_: tests.config.toys.Part}\n", encoding="utf-8")
    monkeypatch.setenv("IMBDET_TRUST", "tests")
    load_config(path).model["_target_"] = "changed"
    assert load_config(path).model["_target_"] == "tests.config.toys.Part"
    monkeypatch.setenv("IMBDET_TRUST", "")
    with pytest.raises(ValueError, match=r"tests\.config\.toys"):
        load_config(path)
