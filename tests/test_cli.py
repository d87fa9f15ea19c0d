"""The console script and how it tells a user's mistake."""

import errno
import sys
from pathlib import Path

import pytest

from imbdet import __version__, cli
from imbdet.commands import run, verbs
from imbdet.mistakes import is_users_mistake

ROOT = Path(__file__).resolve().parent.parent


def test_help_and_version(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "show_config" in out and "list_remedies" in out
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_verb_names_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert "unknown verb 'trian'; did you mean 'train'?" in capsys.readouterr().err


def test_every_verb_has_a_help_with_an_example(capsys):
    for verb in verbs():
        with pytest.raises(SystemExit) as info:
            cli.main([verb, "--help"])
        out = capsys.readouterr().out
        assert info.value.code == 0 and f"usage: imbdet {verb}" in out, verb
        assert f"imbdet {verb}" in out.partition("example:")[2], verb


def test_every_tool_runs_the_verb_of_its_name():
    tools = {path.stem: path.read_text() for path in (ROOT / "tools").glob("*.py")}
    assert {"train", "evaluate", "predict", "check_data", "show_config", "list_remedies", "new_remedy"} <= set(tools)
    for name, text in tools.items():
        assert f'run("{name}")' in text and text.startswith('"""'), name


def verb_that(monkeypatch, action):
    module = type(sys)("imbdet.commands.toy")
    module.main = lambda argv=None: action()
    monkeypatch.setitem(sys.modules, "imbdet.commands.toy", module)
    return lambda: run("toy", [])


def raising(error):
    def action():
        raise error

    return action


def test_a_missing_config_is_one_line(capsys):
    assert cli.main(["show-config", "--config", "baselines/faster_rcnn_shape"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("imbdet show_config: error: config 'baselines/faster_rcnn_shape' exists neither")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "out/x"), "out/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "out/y"), "out/y: No space left on device"),
        (FileNotFoundError("no such run"), "no such run"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(monkeypatch, capsys, error, line):
    assert verb_that(monkeypatch, raising(error))() == 2
    assert capsys.readouterr().err == f"imbdet toy: error: {line}\n"


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("IMBDET_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        verb_that(monkeypatch, raising(FileNotFoundError("x")))()


def test_errors_of_other_libraries_and_defects_keep_their_traceback(monkeypatch):
    for error in (ValueError("raised outside of the package"), KeyError("x"), RuntimeError("y")):
        with pytest.raises(type(error)):
            verb_that(monkeypatch, raising(error))()


def test_what_counts_as_the_users_mistake():
    from imbdet.config import load_config

    with pytest.raises(ValueError) as info:
        load_config("baselines/faster_rcnn_shapes", ["no_such_remedy"])
    assert is_users_mistake(info.value)
    assert not is_users_mistake(ValueError("never raised"))


def test_interrupts_and_closed_pipes(monkeypatch, capsys):
    assert verb_that(monkeypatch, raising(KeyboardInterrupt()))() == 130
    assert "stopped" in capsys.readouterr().err
    assert verb_that(monkeypatch, lambda: None)() == 0
    assert verb_that(monkeypatch, lambda: 3)() == 3
