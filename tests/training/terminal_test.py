"""The lines for the terminal."""

from configs import deep_cnn
from digits.runs.workdir import Workdir, resuming_command
from digits.training import terminal


def test_epoch_line_shows_what_there_is():
    line = {"epoch": 3, "loss": 0.12345, "accuracy": 0.98765, "val_loss": None, "val_accuracy": None}
    line |= {"learning_rate": 1e-3, "seconds": 12.34, "images_per_second": 4321.0}
    assert terminal.epoch_line(line, 20) == (
        "epoch  3/20  loss 0.1235  accuracy 0.9877  lr 1.00e-03  12.3 s  4,321 images/s"
    )


def test_closing_lines_show_the_documented_figures_beside_the_test_figures(tmp_path):
    config = deep_cnn.get_config()
    result = {"test_loss": 0.02, "test_accuracy": 0.995, "validation_is_test": False}
    text = terminal.closing_lines(config, result, Workdir(tmp_path))
    assert "test accuracy 0.9950" in text and "documented: val accuracy 0.9961 (notebook 000" in text
    assert str(tmp_path) in text and "MiB" not in text
    result |= {"peak_memory_bytes": 300 * 2**20, "device_peak_memory_bytes": 2**30}
    text = terminal.closing_lines(config, result, Workdir(tmp_path))
    assert text.endswith("peak memory: 300 MiB of the process, 1,024 MiB on the device")


def test_command_quotes_what_the_shell_would_eat(tmp_path):
    about = {"config_file": "configs/two_conv.py", "overrides": {"model.blocks": "((4,),)", "epochs": 3}}
    text = resuming_command(about, Workdir(tmp_path))
    assert text == (
        f"python -m digits.main --config=configs/two_conv.py '--config.model.blocks=((4,),)' --config.epochs=3 "
        f"--workdir={tmp_path}"
    )
