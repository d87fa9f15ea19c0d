"""imbdet show_config."""

import pytest

from imbdet.commands.show_config import main
from imbdet.config import load_config, save_config, to_yaml, yaml12

BASE = "baselines/retinanet_shapes"


def test_the_whole_config_and_one_part(capsys):
    assert main(["--config", BASE, "train.max_iter=7"]) == 0
    whole = yaml12.read(capsys.readouterr().out, "output")
    assert whole["train"]["max_iter"] == 7 and "${" not in str(whole)
    main(["--config-file", BASE, "--key", "train.max_iter", "train.max_iter=8"])
    assert capsys.readouterr().out == "8\n"
    main(["--config", BASE, "--key", "train.amp"])
    assert capsys.readouterr().out.startswith("enabled: false\n")
    main(["--config", BASE, "--raw"])
    assert capsys.readouterr().out == to_yaml(load_config(BASE))


def test_print_diff_and_slots(capsys, tmp_path):
    main(["--config", BASE, "--remedy", "focal_loss", "--print"])
    assert capsys.readouterr().out.startswith("model.criterion.classification: SigmoidCrossEntropy(prior=0.01) -> Fo")
    main(["--config", BASE, "--print"])
    assert capsys.readouterr().out == "no difference\n"
    save_config(load_config(BASE, overrides=["train.seed=5"]), tmp_path / "config.yaml")
    main(["--config", str(tmp_path), "--diff", BASE])
    assert capsys.readouterr().out == "train.seed: 0 -> 5\n"
    main(["--config", BASE, "--slots"])
    assert "classification  model.criterion.classification" in capsys.readouterr().out


def test_options_and_overrides_in_any_order(capsys):
    main(["train.seed=1", "--config", BASE, "train.max_iter=2", "--print", "train.log_period=3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["train.max_iter", "train.seed", "train.log_period"]


def test_a_key_that_is_not_there():
    with pytest.raises(ValueError, match="no key 'model.criterian'; did you mean 'model.criterion'"):
        main(["--config", BASE, "--key", "model.criterian"])
