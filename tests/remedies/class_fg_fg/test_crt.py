"""cRT: the classifier alone moves, on either detector and in a cascade; its images are class-aware without limit."""

from itertools import islice

import pytest

from imbdet.config import instantiate, load_config
from imbdet.remedies.class_fg_fg.class_aware_sampling import ClassAwareSampling
from imbdet.remedies.class_fg_fg.crt import CRT
from tests.helpers import SHAPES
from tests.remedies.class_fg_fg._decoupled import WORDS, changed_by_a_step, config, detector

TWO = "baselines/faster_rcnn_shapes"


@pytest.mark.parametrize("baseline", SHAPES)
def test_mechanism_only_the_classifier_moves(baseline):
    """Weight decay and batch norms included; without the freezing nearly everything does."""
    moved = changed_by_a_step(detector(baseline, "crt")) - {"criterion.normalizer.value"}  # a mean of counts
    place = "roi_heads.box_predictor" if baseline == TWO else "head"
    assert moved == {f"{place}.cls_score.weight", f"{place}.cls_score.bias"}
    assert len(changed_by_a_step(detector(baseline, ""))) > 20


def test_every_stage_of_a_cascade_has_a_classifier():
    cfg = load_config(TWO, ["cascade_rcnn", "crt"], WORDS)
    model = instantiate(cfg.model)
    model.freeze(list(cfg.train.freeze))
    learning = [name for name, value in model.named_parameters() if value.requires_grad]
    assert len(learning) == 6 and all("cls_score" in name for name in learning)


def test_with_one_class_too():
    assert changed_by_a_step(detector(TWO, "crt", classes=1))


def test_what_is_frozen_starts_anew_nowhere():
    """What is reset and what learns are the same."""
    train = config(TWO, "crt").train
    assert [f"!{name}" for name in train.reset] == list(train.freeze)[1:] and train.freeze[0] == "*"


def test_its_images_are_those_of_class_aware_sampling_without_a_limit(made):
    records = made.records([[0]] * 7 + [[1]] * 7 + [[2]])
    mine, plain = CRT(records, 3), ClassAwareSampling(records, 3, max_repeats=None)
    assert list(islice(mine.indices(), 60)) == list(islice(plain.indices(), 60))
    limited = ClassAwareSampling(records, 3, max_repeats=2.0)
    assert list(islice(mine.indices(), 60)) != list(islice(limited.indices(), 60))
    made_by_config = instantiate(config(TWO, "crt").dataloader.train.image_sampler)(records, seed=3)
    assert type(made_by_config) is CRT and "no limit" in made_by_config.describe()


def test_not_together_with_another_sampler():
    with pytest.raises(ValueError, match="both fill the slot 'image_sampler'"):
        load_config(TWO, ["crt", "repeat_factor_sampling"])
