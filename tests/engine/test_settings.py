import pytest
from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.engine.schedule import epochs_to_iterations
from imbdet.engine.settings import Settings, read_settings


def read(**train):
    return read_settings(OmegaConf.create({"train": train}))


def test_missing_keys_take_their_defaults():
    assert read_settings(OmegaConf.create({})) == Settings() == read()
    assert read(ema=dict(enabled=True)).ema.decay == Settings().ema.decay


def test_a_call_may_stand_for_a_number():
    assert read(max_iter=L(epochs_to_iterations)(epochs=2, num_images=16, batch_size=8)).max_iter == 4


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (dict(max_iter=0), "train.max_iter is 0; it must be 1 or more"),
        (dict(log_period="often"), "train.log_period is 'often'; it must be a whole number"),
        (dict(accumulate=1.5), "train.accumulate is 1.5; it must be a whole number"),
        (dict(checkpointer=dict(period=0)), "train.checkpointer.period is 0; it must be 1 or more"),
        (dict(amp=True), "train.amp is True; it has the keys enabled, dtype"),
        (dict(amp=dict(dtype="float8")), "train.amp.dtype is 'float8'; use 'float16' or 'bfloat16'"),
        (dict(seed=-1), "train.seed is -1; it must be 0 or more"),
        (dict(compile="yes"), "train.compile is 'yes'; it must be true or false"),
    ],
)
def test_wrong_values_are_named(train, message):
    with pytest.raises(ValueError) as error:
        read(**train)
    assert message in str(error.value)


def test_every_key_of_the_shipped_configs_is_read():
    from imbdet.config import load_config

    shipped = load_config("baselines/faster_rcnn_shapes").train
    assert set(shipped) <= set(vars(Settings())), "a key that nobody reads"
    assert {k: set(v) for k, v in shipped.items() if hasattr(v, "keys")} == {
        k: set(vars(v)) for k, v in vars(Settings()).items() if hasattr(v, "__dict__")
    }
