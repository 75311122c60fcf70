"""The lines for the terminal: they fit 80 columns, and tell what there is."""

import sys

import pytest

from configs import deep_cnn, simple_cnn
from digits.runs.workdir import METRICS, Workdir, resuming_command
from digits.training import terminal

LINE = dict(zip(METRICS, (0.12345, 0.98765, 12.5, 1.0, 1e-3, 12.34, 4321.0))) | {"epoch": 3}
RESULT = {"test_loss": 0.02, "test_accuracy": 0.995, "validation_is_test": False}


def columns(text):
    return [
        text[:5],
        *(text[i : i + 8] for i in (5, 13)),
        text[21:31],
        text[31:40],
        text[40:50],
        text[50:58],
        text[58:],
    ]


def test_the_rows_of_epochs_stand_below_their_heading():
    config = simple_cnn.get_config()
    heading = terminal.heading(config)
    row, best = terminal.epoch_row(config, LINE), terminal.epoch_row(config, LINE, best=True)
    assert [part.strip() for part in columns(heading)] == [
        "epoch", "loss", "acc", "val_loss", "val_acc", "lr", "s", "* best val_loss",
    ]  # fmt: skip
    assert [part.strip() for part in columns(row)] == [
        "3/10", "0.1235", "0.9877", "12.5", "1.0000", "1.00e-03", "12.3", "",
    ]  # fmt: skip
    assert best == f"{row}  *" and len(heading) < 80


def test_a_run_without_validation_has_neither_its_columns_nor_a_best_epoch():
    config = simple_cnn.get_config()
    config.data.validation = "none"
    line = LINE | {"val_loss": None, "val_accuracy": None}
    assert terminal.heading(config).split() == ["epoch", "loss", "acc", "lr", "s"]
    assert terminal.epoch_row(config, line).split() == ["3/10", "0.1235", "0.9877", "1.00e-03", "12.3"]


@pytest.mark.parametrize(
    "terminal_there, environment, colours",
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_the_best_epoch_is_coloured_on_a_terminal_that_wants_it(terminal_there, environment, colours, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal_there)
    config = simple_cnn.get_config()
    assert ("\x1b[" in terminal.epoch_row(config, LINE, best=True)) is colours
    assert "\x1b" not in terminal.epoch_row(config, LINE)


def test_opening_lines_fit_also_with_a_long_device(monkeypatch):
    monkeypatch.setattr("digits.runtime.environment.device", lambda: f"cpu ({'Some Processor ' * 8}, 2 cores)")
    config = simple_cnn.get_config()
    config.data.validation, config.epochs = "test", 1
    text = terminal.opening_lines(config, {"train": 60_000, "validation": 10_000, "test": 10_000}, 1_875)
    assert max(map(len, text.splitlines())) < 80
    assert "10,000 validation (the test set itself)" in " ".join(text.split()) and "\n1 epoch of 1,875 steps\n" in text


def test_closing_lines_show_the_documented_figures_beside_the_test_figures(tmp_path):
    config = deep_cnn.get_config()
    text = terminal.closing_lines(config, RESULT, Workdir(tmp_path))
    assert "test accuracy 0.9950" in text and "documented: val accuracy 0.9961 (notebook 000" in text
    assert str(tmp_path) in text and "MiB" not in text
    used = {
        "peak_memory_bytes": 300 * 2**20,
        "device_peak_memory_bytes": 2**30,
        "seconds": 7,
        "images_per_second": 4321,
    }
    lines = terminal.closing_lines(config, RESULT | used, Workdir(tmp_path)).splitlines()
    assert "trained in 7.0 s; 4,321 images/s; peak memory: 300 MiB of the process, 1,024" in lines
    assert "  MiB on the device" in lines


def test_a_documented_figure_does_not_stand_beside_a_run_of_something_else(tmp_path):
    config = simple_cnn.get_config()
    config.epochs = 1
    text = " ".join(terminal.closing_lines(config, RESULT, Workdir(tmp_path)).split())
    assert "documented for the experiment as it is (here epochs differs): test accuracy 0.9918" in text
    config.batch_size = 8
    config.documented.test_accuracy = None
    assert "documented for" not in terminal.closing_lines(config, RESULT, Workdir(tmp_path))


def test_the_next_commands_can_be_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "a run,model.blocks=((4,),)"
    folder.mkdir(parents=True)
    commands = [f"python -m digits.{name} '--workdir=runs/{folder.name}'" for name in ("demo", "evaluate")]
    assert terminal.next_lines(folder).splitlines() == ["next:", *(f"  {command}" for command in commands)]
    (folder / "report.html").touch()
    assert terminal.next_lines(folder).splitlines()[1] == f"  {terminal._OPEN} 'runs/{folder.name}/report.html'"


def test_everything_is_said_above_the_bar(monkeypatch, capfd):
    """On a terminal, a line that is said while the bar stands begins at the left, and the bar is drawn again below."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(terminal.os, "get_terminal_size", lambda _: (80, 24))
    shown = terminal.bar(images=100, done=20)
    shown.set_description_str(terminal.bar_title(2, 5, 0.5))
    terminal.say("first step after 1 s")
    shown.close()
    out, err = capfd.readouterr()
    assert out == "first step after 1 s\n"
    drawn = [part.rstrip() for part in err.split("\r")]
    titles = [part for part in drawn if part.startswith("epoch 2/5  loss 0.5000  20%|")]
    assert len(titles) >= 2 and max(map(len, titles)) <= 77 and titles[0].endswith("left")
    assert "" in drawn[drawn.index(titles[0]) : -1]  # It was cleared for the line.


def test_the_command_of_a_run_in_its_own_folder_is_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = {"config_file": "configs/two_conv.py", "overrides": {"epochs": 3}}
    command = "python -m digits.main --config=configs/two_conv.py --config.epochs=3"
    assert resuming_command(about, Workdir("runs/two_conv,epochs=3")) == command
    assert resuming_command(about, Workdir("runs/mine")) == f"{command} --workdir=runs/mine"


def test_command_quotes_what_the_shell_would_eat(tmp_path):
    about = {"config_file": "configs/two_conv.py", "overrides": {"model.blocks": "((4,),)", "epochs": 3}}
    text = resuming_command(about, Workdir(tmp_path))
    assert text == (
        f"python -m digits.main --config=configs/two_conv.py '--config.model.blocks=((4,),)' --config.epochs=3 "
        f"--workdir={tmp_path}"
    )
