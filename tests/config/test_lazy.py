"""What a lazy call writes down."""

import collections
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, to_yaml
from imbdet.config.lazy import target_name

from .toys import Focal, Part


def test_target_is_the_shortest_import_name():
    assert L(torch.optim.SGD)(lr=0.1) == {"_target_": "torch.optim.SGD", "lr": 0.1}
    assert target_name(collections.OrderedDict) == "collections.OrderedDict"
    assert target_name(torch.nn.Module.parameters) == "torch.nn.Module.parameters"


def test_tuples_become_lists_at_every_depth():
    node = L(Part)(a=(1, (2, {"b": (3,)})), c=L(Part)(d=(4,)))
    assert OmegaConf.to_container(node)["a"] == [1, [2, {"b": [3]}]]
    assert OmegaConf.to_container(node)["c"]["d"] == [4]
    assert to_yaml(node) == to_yaml(OmegaConf.create(to_yaml(node)))


def test_paths_become_strings():
    assert L(Part)(root=Path("a") / "b").root == str(Path("a") / "b")


def test_a_callable_as_value_comes_back_itself():
    built = instantiate(L(Part)(norm=torch.nn.BatchNorm2d, act=torch.nn.functional.relu))
    assert built.kwargs["norm"] is torch.nn.BatchNorm2d
    assert built.kwargs["act"] is torch.nn.functional.relu


def test_interpolations_survive_nesting():
    node = L(Part)(inner=L(Part)(x="${train.seed}", y="${..z}"), z=5)
    assert OmegaConf.to_container(node)["inner"] == {"_target_": target_name(Part), "x": "${train.seed}", "y": "${..z}"}


def test_what_no_yaml_could_name_is_refused():
    def local():
        pass

    with pytest.raises(ValueError, match="lambdas and functions defined inside a function"):
        L(lambda: 0)
    with pytest.raises(ValueError, match="local"):
        L(local)
    with pytest.raises(ValueError, match="needs a class or a function"):
        L(Focal())
    with pytest.raises(ValueError, match="lambda"):
        L(Part)(f=lambda: 0)
