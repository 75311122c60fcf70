"""What a command and its runs do with any tracker: which are accepted, what they get, and that they cost no run."""

import sys
import threading

import pytest

from digits import errors, main, sweep
from digits.config.values import with_values
from digits.runs.workdir import Workdir
from digits.runtime.signals import Interrupted
from digits.sweeps import population
from digits.sweeps.members import Member
from digits.training import tracking, train
from digits.training.loop import Loop
from tests.conftest import is_one_mistake, slow, tiny_config


class Notes:
    """A tracker that notes its calls, of all runs, and fails in one of them."""

    HAS_SWEEPS = True
    fails_in = ""
    runs: dict

    def __init__(self, about):
        self._notes = self.runs.setdefault(about.name, [])
        self.epochs, self.done, self.look = 0, ("close", "finished") in self._notes, "look here"
        self._note("open", about)

    def _note(self, call, *values):
        if call == self.fails_in:
            raise ConnectionError("the server\nis gone")
        self._notes.append((call, *values))

    def metrics(self, epoch, figures):
        self._note("metrics", epoch, figures)

    def result(self, epoch, figures):
        self._note("result", epoch, figures)

    def files(self, folder, paths):
        self._note("files", {path.relative_to(folder).as_posix() for path in paths})

    def close(self, state):
        self._note("close", state)


@pytest.fixture
def notes(monkeypatch):
    """Takes the place of every tracker, and is given back: the calls of each run by its name."""
    monkeypatch.setattr(Notes, "runs", {}, raising=False)
    monkeypatch.setattr(Notes, "fails_in", "")
    monkeypatch.setattr(tracking, "_adapter", lambda name: Notes)
    monkeypatch.setattr(tracking, "TRACKERS", ("numpy",))  # A package that is installed.
    return Notes.runs


def tracked(config, folder, warned=None):
    with tracking.Tracking(("numpy",)).run(Workdir(folder), pytest.fail if warned is None else warned.append) as run:
        return train.train_and_evaluate(config, folder, tracked=run)


def test_the_flag_names_trackers():
    assert tracking.names(None) == ()
    for text in ("mlflow,comet", "", "mlflow,", "Wandb"):
        with pytest.raises(errors.UserError, match="--track is .*, but it must be one of mlflow, wandb, trackio, or"):
            tracking.names(text)


def test_several_trackers_are_named_once_each(notes):
    assert tracking.names("numpy, numpy") == ("numpy",)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_tracker_that_is_not_installed_is_named(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()  # As W&B's folder of runs.
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(errors.UserError, match=f"--track is '{name}', which needs {name}: pip install {name}$"):
        tracking.names(name)


@pytest.mark.parametrize("command", [main.main, sweep.main])
def test_a_mistake_in_the_flag_trains_nothing(command, tmp_path, run_command):
    words = ["--config=quickstart", f"--workdir={tmp_path / 'run'}", "--track=comet"]
    done = run_command(command, *words, *(["--sweep.seed=0:2"] if command is sweep.main else []))
    assert done.returncode == 2 and is_one_mistake(done.stderr) and "--track is 'comet'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_reports_its_epochs_its_result_and_its_files(notes, tmp_path):
    result = tracked(tiny_config(), tmp_path / "run")
    records = Workdir(tmp_path / "run").history()
    (_, about), *told = notes["run"]
    assert about.identity == result["run"] and about.config["epochs"] == 3 and about.sweep is None
    assert about.tags == {"data": "optdigits", "family": "dense"}
    epochs = [("metrics", record.pop("epoch"), record) for record in records]
    names = ("test_loss", "test_accuracy", "tested_epoch", "best_epoch")
    assert told == [
        *epochs,
        ("result", 3, {name: result[name] for name in names}),
        ("files", {"config.json", "metrics.jsonl", "result.json"}),
        ("close", "finished"),
    ]


def test_a_finished_run_is_sent_once(notes, tmp_path):
    train.train_and_evaluate(tiny_config(), tmp_path / "run")
    tracked(tiny_config(), tmp_path / "run")
    calls = [call for call, *_ in notes["run"]]
    assert calls == ["open", "metrics", "metrics", "metrics", "result", "files", "close"]
    tracked(tiny_config(), tmp_path / "run")
    assert [call for call, *_ in notes["run"]] == [*calls, "open", "close"]


def test_a_run_without_validation_reports_no_figures_of_it(notes, tmp_path):
    tracked(with_values(tiny_config(), {"data.validation": "none", "monitor": "loss", "epochs": 1}), tmp_path / "run")
    [(_, _, figures)] = [note for note in notes["run"] if note[0] == "metrics"]
    assert "loss" in figures and "val_loss" not in figures


@pytest.mark.parametrize("call", ["open", "result", *slow("metrics", "files", "close")])
def test_a_tracker_that_fails_costs_one_warning(call, notes, tmp_path, monkeypatch):
    monkeypatch.setattr(Notes, "fails_in", call)
    warned = []
    result = tracked(tiny_config(), tmp_path / "run", warned)
    [sentence] = warned
    assert sentence.startswith("warning: numpy failed (ConnectionError: the server) and gets no more")
    assert max(map(len, sentence.splitlines())) < 80
    assert Workdir(tmp_path / "run").result() == result
    calls = [call for call, *_ in notes["run"]]
    order = ["open", "metrics", "result", "files", "close"]
    assert [one for one in calls if one != "metrics"] == [one for one in order[: order.index(call)] if one != "metrics"]


def test_a_tracker_that_does_not_answer_costs_one_wait(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE", 0.5)
    answer, asked = threading.Event(), []

    def wait(self, *_):
        asked.append(1)
        answer.wait(60)

    monkeypatch.setattr(Notes, "metrics", wait)
    warned = []
    tracked(tiny_config(), tmp_path / "run", warned)
    answer.set()
    assert len(asked) == len(warned) == 1 and "numpy failed (no answer in 0 s)" in warned[0]


@pytest.mark.parametrize("sharing", ["mapped", "batched"])
def test_members_report_each_for_itself_and_those_that_fail_have_failed(sharing, notes, tmp_path):
    rates = {"fine": 1e-3, "wild": 1e30, "good": 3e-3}
    values = {"population.sharing": sharing, "optimizer.name": "sgd", "epochs": 2}
    members = [
        Member(with_values(tiny_config(), values | {"optimizer.learning_rate": rate}), tmp_path / name)
        for name, rate in rates.items()
    ]
    results = population.train_members(members, tracking=tracking.Tracking(("numpy",), tmp_path))
    assert [bool(result) for result in results] == [True, False, True]
    for name in ("fine", "good"):
        figures = [(epoch, told["loss"]) for _, epoch, told in (n for n in notes[name] if n[0] == "metrics")]
        assert figures == [(record["epoch"], record["loss"]) for record in Workdir(tmp_path / name).history()]
        assert notes[name][-1] == ("close", "finished") and notes[name][0][1].sweep[0] == tmp_path.name
    assert notes["wild"][-1] == ("close", "failed")


def test_a_sweep_warns_once_and_sends_its_tables_to_a_tracker_that_has_sweeps(notes, tmp_path, capsys, monkeypatch):
    (tmp_path / "tiny.py").write_text("from tests.conftest import tiny_config as get_config")
    words = ["sweep", f"--config={tmp_path}/tiny.py", "--sweep.seed=0:2", "--config.epochs=1"]
    monkeypatch.setattr(Notes, "fails_in", "metrics")
    words += [f"--workdir={tmp_path / 'swept'}", "--track=numpy"]
    assert sweep.main(words) == 0
    assert capsys.readouterr().out.count("numpy failed") == 1
    monkeypatch.setattr(Notes, "fails_in", "")
    assert sweep.main(words) == 0  # Sends what the tracker lacks.
    assert "\n  look here\n" in capsys.readouterr().out
    assert set(notes) == {"seed=0", "seed=1", "swept"}
    for name in ("seed=0", "seed=1"):
        assert [call for call, *_ in notes[name]][-5:] == ["open", "metrics", "result", "files", "close"]
    assert notes["swept"][-2:] == [
        ("files", {"sweep.md", "sweep.csv", "members.csv", "figures/sweep.png"}),
        ("close", "finished"),
    ]


def test_the_command_that_goes_on_with_a_run_reports_it_again(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "train_epoch", lambda self: self._run.stop(2))
    with pytest.raises(Interrupted, match="--track=numpy$"):
        tracked(tiny_config(), tmp_path / "run")
    assert notes["run"][-1] == ("close", "interrupted")
