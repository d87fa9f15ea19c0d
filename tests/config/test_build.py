"""Making the calls that a config writes down."""

import functools

import pytest
import torch
from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config, locate
from imbdet.data.loader import EvalLoader
from imbdet.modeling.defaults import ThresholdMatcher

from .toys import Criterion, Focal, Outer, Part, broken, missing_file, takes_pair


def test_nested_nodes_lists_and_mappings():
    built = instantiate(L(Part)(a=[L(Focal)(gamma=1), {"b": L(Focal)(gamma=3)}], c=4, d="${.c}"))
    assert (built.kwargs["a"][0].gamma, built.kwargs["a"][1]["b"].gamma) == (1, 3)
    assert built.kwargs["d"] == 4
    assert type(built.kwargs["a"]) is list and type(built.kwargs["a"][1]) is dict


def test_a_call_inside_a_native_tuple_is_made():
    # omegaconf 2.4 keeps tuples as TupleConfig, which is no ListConfig: easily left uninstantiated, in silence
    cfg = OmegaConf.create({"parts": ({"_target_": f"{Focal.__module__}.Focal", "gamma": 1}, (2,))})
    first, second = instantiate(cfg.parts)
    assert first.gamma == 1 and list(second) == [2]
    assert instantiate(({"_target_": f"{Focal.__module__}.Focal"}, 2))[0].gamma == 2.0


def test_interpolations_are_resolved_from_the_root_and_nothing_is_remembered():
    cfg = OmegaConf.create({"data": {"train": L(Part)(n=1)}, "a": L(Part)(r="${data.train}"), "b": L(Part)(r="${a.r}")})
    first, second = instantiate(cfg.a).kwargs["r"], instantiate(cfg.b).kwargs["r"]
    assert first.kwargs == second.kwargs == {"n": 1}
    assert first is not second


def test_extra_arguments_replace_the_nodes_own_unbuilt():
    model = torch.nn.Linear(2, 2)
    cfg = OmegaConf.create({"o": L(torch.optim.SGD)(params=L(broken)(), lr=0.5)})
    optimizer = instantiate(cfg.o, params=model.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(ValueError, match="has no _target_"):
        instantiate(cfg, x=1)


def test_partial_args_and_recursive():
    partial = instantiate(L(takes_pair)(second=L(Focal)(), _partial_=True))
    assert isinstance(partial, functools.partial) and partial(1)[1].gamma == 2.0
    assert instantiate({"_target_": f"{takes_pair.__module__}.takes_pair", "_args_": [5]}) == (5, (1, 2))
    lazy = instantiate(L(Part)(inner=L(Focal)(gamma=7), _recursive_=False))
    assert lazy.kwargs["inner"].gamma == 7 and "_target_" in lazy.kwargs["inner"]
    with pytest.raises(ValueError, match="_convert_"):
        instantiate(L(Part)(_convert_="all"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch.nn.Linaer", "torch.nn has no 'Linaer'; did you mean 'torch.nn.Linear'"),
        ("torhc.nn.Linear", "did you mean torch.nn.Linear?"),
        ("imbdet.modeling.hedas.BoxHead", "imbdet.modeling has no 'hedas'; did you mean 'imbdet.modeling.heads'"),
        ("torch.nn.Linear.forwrd", "did you mean 'torch.nn.Linear.forward'"),
        ("torch.nn.functional.GRID_SAMPLE_PADDING_MODES", "is a dict, not something that can be called"),
        ("linear", "not a dotted import name"),
        ("torch..nn", "not a dotted import name"),
    ],
)
def test_a_target_that_cannot_be_imported(name, message):
    cfg = OmegaConf.create({"model": {"head": {"_target_": name}}})
    with pytest.raises(ValueError, match="model.head._target_") as info:
        instantiate(cfg.model)
    assert message in str(info.value)


def test_a_module_whose_own_import_fails_is_told_apart(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IMBDET_TRUST", "needs_more")
    with pytest.raises(ImportError, match="needs_more failed: No module named 'a_library_that_is_not_there'"):
        locate("needs_more.thing")


def test_failing_constructors_name_the_place_and_keep_the_cause():
    cfg = OmegaConf.create({"m": {"c": L(Focal)(gamma=-1)}, "f": L(missing_file)(), "b": L(broken)()})
    with pytest.raises(ValueError, match=r"m\.c: .*toys\.Focal: gamma must not be negative, got -1") as info:
        instantiate(cfg.m)
    assert isinstance(info.value.__cause__, ValueError)
    with pytest.raises(FileNotFoundError, match="weights.pth"):
        instantiate(cfg.f)
    with pytest.raises(RuntimeError, match="b: .*KeyError.*a defect") as info:
        instantiate(cfg.b)
    assert isinstance(info.value.__cause__, KeyError)


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="takes no argument 'gama'; did you mean 'gamma'"):
        instantiate(L(Focal)(gama=1))
    with pytest.raises(ValueError, match="missing a required argument: 'first'"):
        instantiate(L(takes_pair)())


def test_a_part_built_by_its_owner_is_reported_once():
    cfg = OmegaConf.create({"outer": L(Outer)(part=L(Criterion)(classification=L(Focal)(gamma=-2)), _recursive_=False)})
    with pytest.raises(ValueError) as info:
        instantiate(cfg)
    assert str(info.value).startswith("outer.part.classification: ")
    assert str(info.value).count("toys.") == 1


@pytest.mark.parametrize("value", [{"a": {"b": 1}}, [1], "x", 3, L(ThresholdMatcher)(), L(object)()])
def test_what_stands_in_a_slot_is_built(value):
    cfg = OmegaConf.create({"loader": L(EvalLoader)(records=None, resize=value)})
    with pytest.raises(
        ValueError, match=r"loader.resize is .*; expected null, or a node whose _target_ is one for Augment"
    ):
        instantiate(cfg.loader)


@pytest.mark.parametrize("name", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_a_slot_that_a_class_hands_on_to_its_base_is_one_too(name):
    cfg = load_config(name, overrides=["model.calibration=[1, 2]", "data.train.num_images=8"])
    with pytest.raises(ValueError, match=r"calibration is \[1, 2\]; expected null, or a node"):
        instantiate(cfg.model)
