"""Strict `key=value` overrides."""

import pytest
from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.config import apply_overrides, instantiate, load_config

from .toys import Criterion, Focal, Part, takes_name


@pytest.fixture
def cfg():
    return OmegaConf.create(
        {
            "train": {"max_iter": 100, "amp": {"enabled": False}, "output_dir": "output", "lr": 0.1, "sizes": [1, 2]},
            "optimizer": {"lr": 0.1, "momentum": 0.9},
            "model": L(Criterion)(classification=L(Focal)(gamma=2.0), weighting=None, region_sampler="${train}"),
            "free": L(Part)(a=1, weights={}, table={"x": 1}),
            "parts": [{"p": 0.5}, {"p": 0.1}],
        }
    )


def changed(cfg, *words):
    apply_overrides(cfg, words)
    return cfg


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("train.max_iter=7", "train.max_iter", 7),
        ("train.max_iter=1e4", "train.max_iter", 10000),
        ("train.max_iter=null", "train.max_iter", None),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("train.amp.enabled=true", "train.amp.enabled", True),
        ("train.output_dir=no", "train.output_dir", "no"),
        ("train.output_dir=", "train.output_dir", ""),
        ("train.output_dir=a=b", "train.output_dir", "a=b"),
        ("train.sizes=[3, 4, 5]", "train.sizes", [3, 4, 5]),
        ("train.sizes.1=9", "train.sizes", [1, 9]),
        ("parts.1.p=0.3", "parts.1.p", 0.3),
        ("train.max_iter='12'", "train.max_iter", "12"),
        ("model=null", "model", None),
        ("model.classification.alpha=0.5", "model.classification.alpha", 0.5),
        ("free.new=3", "free.new", 3),
        ("free.weights.loss_cls=2.0", "free.weights", {"loss_cls": 2.0}),
        ("free.weights={a: 1, b: 2}", "free.weights", {"a": 1, "b": 2}),
        ("free.table={y: 2}", "free.table", {"y": 2}),
        ("train.amp={enabled: true}", "train.amp", {"enabled": True}),
        ("train.lr=${optimizer.lr}", "train.lr", 0.1),
    ],
)
def test_what_may_be_set(cfg, word, key, value):
    apply_overrides(cfg, [word])
    found = OmegaConf.select(cfg, key)
    found = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    assert found == value and type(found) is type(value)


def test_two_keys_into_one_empty_mapping(cfg):
    assert changed(cfg, "free.weights.a=1", "free.weights.b=2").free.weights == {"a": 1, "b": 2}


def test_a_node_is_filled_and_replaced(cfg):
    target = f"{Focal.__module__}.Focal"
    changed(cfg, f"model.weighting={{_target_: {target}, gamma: 1}}", f"model.classification={{_target_: {target}}}")
    cfg.model.region_sampler = None
    built = instantiate(cfg.model)
    assert built.weighting.gamma == 1 and built.classification.gamma == 2.0
    changed(cfg, "model.classification={gamma: 5}")
    assert instantiate(cfg.model.classification).gamma == 5


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.max_itr=3", "unknown key 'train.max_itr'; did you mean 'train.max_iter'"),
        ("lr=3", "did you mean 'train.lr'|did you mean 'optimizer.lr'"),
        ("optimizer.learning.lr=3", "did you mean 'optimizer.lr'"),
        ("trian.max_iter=3", "did you mean 'train.max_iter'"),
        ("zzz=3", "unknown key 'zzz'; the config has train, optimizer"),
        ("model.classification.gama=3", "Focal takes no 'gama'; did you mean model.classification.gamma"),
        ("model.classification.zzz=3", "takes no 'zzz'; it takes gamma, alpha"),
        ("train.amp={enable: true}", "unknown key 'train.amp.enable'; did you mean 'train.amp.enabled'"),
        ("free.table.y=2", "unknown key 'free.table.y'"),
        ("model=3", "would replace a whole node; set model._target_, model.classification"),
        ("train.sizes=3", r"a list stands there, \[1, 2\]"),
        ("train.sizes.5=3", "unknown key 'train.sizes.5'"),
        ("train.max_iter.x=3", "train.max_iter is the value 100, it has no keys"),
        ("model.weighting.x=3", "model.weighting is null; fill it first"),
        ("model.region_sampler.lr=3", r"model.region_sampler is \$\{train\}, so override that key"),
        ("train.amp.enabled=no", "true or false stands there"),
        ("train.amp.enabled=1", "true or false stands there"),
        ("train.max_iter=ten", "a number stands there"),
        ("train.max_iter=true", "a number stands there"),
        ("train.max_iter", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("train.max_iter=[1, 2]", "a number stands there"),
        ("train.amp.enabled={a: 1}", "true or false stands there"),
        ("train.max_iter=9999999999999999999", "train.max_iter|max_iter is 0x8ac7230489.*beyond 64 bits"),
        (f"train.max_iter={'9' * 5000}", "override train.max_iter: the number 999999999999... of 5000 digits"),
        ("train.max_iter=1e999", "max_iter is inf; a config holds finite numbers"),
        ("train.sizes=[.nan]", "sizes.0 is nan; a config holds finite numbers"),
        ("train={output_dir: 7}", "text stands there"),
        ("model.classification=${oc.env:HOME}", "calls the resolver 'oc.env'"),
        ("model.classification={_target_: os.system}", "'os.system' is refused"),
        ("train.sizes=[1", "override train.sizes: '\\[1' is not a YAML list"),
        ("remedies=[focal]", "--remedy NAME"),
    ],
)
def test_what_is_refused_and_how(cfg, word, message):
    before = OmegaConf.to_container(cfg)
    with pytest.raises(ValueError, match=message):
        apply_overrides(cfg, [word])
    assert OmegaConf.to_container(cfg) == before


@pytest.mark.parametrize(
    "word", ["2024", "007", "1e3", "yes", "null", "~", "0x10", "[a] b", "{a", "=1", ".inf", "9" * 30]
)
def test_where_text_stands_every_word_is_text(cfg, word):
    apply_overrides(cfg, [f"train.output_dir={word}"])
    assert cfg.train.output_dir == word


def test_quotes_around_text_are_taken_off_and_text_behind_an_interpolation_is_text(cfg, toy_configs):
    apply_overrides(cfg, ["train.output_dir='a b'"])
    assert cfg.train.output_dir == "a b"
    loaded = load_config("baselines/one_stage", (), ["data.root=2024", "data.train.root=007"])
    assert (loaded.data.root, loaded.data.train.root) == ("2024", "007")


def test_null_empties_a_text_that_may_be_none():
    cfg = OmegaConf.create({"x": L(takes_name)(name="a", other="b")})
    apply_overrides(cfg, ["x.name=null", "x.other=null"])
    assert (cfg.x.name, cfg.x.other) == (None, "null")


@pytest.mark.parametrize("content", ["model: null", "model: {criterion: 1}", "model: {criterion: x}"])
@pytest.mark.parametrize("scale", ["published", "match"])
def test_parts_of_another_kind_are_no_traceback(content, scale, tmp_path):
    (tmp_path / "c.yaml").write_text(f"{content}\nloss_scale: {scale}\n")
    assert load_config(tmp_path / "c.yaml").loss_scale == scale


@pytest.mark.parametrize("content", ["model: 3", "train: [1]", "data: x", "data: {val: 3}", "dataloader: {train: a}"])
def test_a_section_of_a_file_is_a_mapping(content, tmp_path):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ValueError, match="c.yaml: (model|train|data|data.val|dataloader.train) must be a mapping"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("word", ["model.criterion=x", "model.criterion={}", "model.nothing=1"])
def test_a_class_that_hands_its_keywords_on_takes_those_of_the_class_above_and_no_others(word):
    """FasterRCNN(rpn, roi_heads, **common): `common` are Detector's, which has no criterion."""
    assert load_config("baselines/faster_rcnn_shapes", (), ["model.voting=null"]).model.voting is None
    with pytest.raises(ValueError, match="unknown key .*FasterRCNN takes no"):
        load_config("baselines/faster_rcnn_shapes", (), [word])
