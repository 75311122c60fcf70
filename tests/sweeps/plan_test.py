"""Plans of sweeps: points from the command line and from sweep(), sweep.json, and the lines that open a sweep."""

import json
import os

import pytest

from digits import command_line
from digits.errors import Busy, UserError
from digits.runs import locks
from digits.sweeps import plan
from digits.training import train

STUDY = """
from configs import base

def get_config():
    return base.get_config()

def sweep(config):
    for width in range(1, config.epochs + 1):
        yield {"model.hidden": (width,)}
"""


def planned(*arguments, file="quickstart", sample=None, metric="accuracy"):
    given = command_line.read(["sweep", f"--config={file}", *arguments])
    return plan.read(given, command_line.WORKDIR.value, sample, 0, metric)


def test_every_combination_is_a_member_with_a_config_and_a_folder(tmp_path):
    made = planned("--config.epochs=2", "--sweep.seed=0:2", "--sweep.model.hidden=(8,),(16,)", f"--workdir={tmp_path}")
    assert made.names == [f"seed={s},hidden={w}" for s in (0, 1) for w in (8, 16)]
    assert [config.model.hidden for config in made.configs] == [(8,), (16,)] * 2
    assert all(config.epochs == 2 and config.is_locked for config in made.configs)
    assert made.workdir == tmp_path and made.config.seed == 0


def test_a_member_that_an_earlier_version_began_goes_on_in_its_folder(tmp_path):
    (tmp_path / "seed=0,model.hidden=(8,)").mkdir()
    made = planned("--sweep.seed=0", "--sweep.model.hidden=(8,),(16,)", f"--workdir={tmp_path}")
    assert made.names == ["seed=0,model.hidden=(8,)", "seed=0,hidden=16"]


def test_the_default_folder_names_everything_that_tells_sweeps_apart():
    drawn = planned("--sweep.optimizer.learning_rate=log(1e-4,1e-1)", "--config.epochs=2", sample=3)
    assert drawn.workdir.parent.name == "runs" and len(drawn.values) == 3
    expected = "quickstart_sweep,learning_rate=log-1e-4-1e-1,sample=3,sample_seed=0,epochs=2"
    assert drawn.workdir.name == expected


def test_a_sweep_of_the_file_takes_the_changed_config(tmp_path):
    path = tmp_path / "study.py"
    path.write_text(STUDY)
    made = planned("--config.epochs=3", file=path)
    assert [values["model.hidden"] for values in made.values] == [(1,), (2,), (3,)]
    assert len(planned("--config.epochs=3", "--sweep.seed=0:2", file=path).values) == 6
    path.write_text(STUDY.replace('{"model.hidden": (width,)}', "width"))
    with pytest.raises(UserError, match=r"sweep\(\) of .*study.py must yield points such as"):
        planned(file=path)


def test_where_nothing_is_swept_a_sentence_says_how():
    with pytest.raises(UserError, match=r"Nothing is swept: .* or define sweep\(\) in configs/quickstart.py\."):
        planned()


def test_the_plan_is_written_and_another_one_is_refused_in_its_folder(tmp_path):
    folder = f"--workdir={tmp_path / 'sweep'}"
    made = planned("--sweep.seed=0:2", "--config.model.hidden=8", folder, metric="loss")
    with plan.opened(made):
        pass
    written = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert written["chooses"] == "val_loss" and written["validation_is_test"] is False and written["fields"] == ["seed"]
    assert written["members"] == [{"name": f"seed={s}", "values": {"seed": s}} for s in (0, 1)]
    assert written["config_file"] == "configs/quickstart.py" and written["overrides"] == {"model.hidden": [8]}
    with plan.opened(made):
        pass
    with pytest.raises(UserError, match="holds a sweep with other overrides"):
        plan.opened(planned("--sweep.seed=0:2", folder)).__enter__()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(UserError, match="holds files but no sweep"):
        plan.opened(planned("--sweep.seed=0:2", f"--workdir={tmp_path / 'other'}")).__enter__()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_one_process_trains_a_sweep_and_its_runs_at_a_time(tmp_path):
    made = planned("--sweep.seed=0:2", "--config.model.hidden=8", f"--workdir={tmp_path / 'sweep'}")
    being = f"is being trained by process {os.getpid()} on .* since "
    with plan.opened(made):
        with pytest.raises(Busy, match=f"sweep {being}"):
            plan.opened(made).__enter__()
        with pytest.raises(Busy, match=f"sweep {being}"):  # digits.main, in the folder of a run that has not begun.
            train.train_and_evaluate(made.configs[1], tmp_path / "sweep" / "seed=1")
    assert not (tmp_path / "sweep" / "seed=1").exists()
    run = locks.Lock(tmp_path / "sweep" / "seed=1")
    (tmp_path / "sweep" / "seed=1").mkdir()
    run.acquire()
    with pytest.raises(Busy, match=f"seed=1 {being}"):
        plan.opened(made).__enter__()
    run.release()
    with plan.opened(made):
        pass


@pytest.mark.parametrize("validation, chooses", [("test", "test_accuracy"), ("none", "test_accuracy")])
def test_where_there_is_no_validation_set_the_test_set_chooses(validation, chooses, tmp_path):
    made = planned("--sweep.seed=0:2", f"--config.data.validation={validation}", f"--workdir={tmp_path}/s")
    with plan.opened(made):
        pass
    written = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert written["chooses"] == chooses and written["validation_is_test"] is (validation == "test")


def test_the_opening_lines_count_points_repetitions_and_programs(tmp_path):
    made = planned(
        "--sweep.seed=0:3", "--sweep.epochs=2,5", "--config.data.validation=folds(4)", "--sweep.data.fold=0:4",
        f"--workdir={tmp_path}",
    )  # fmt: skip
    assert plan.opening_line(made, programs=2, finished=5).splitlines() == [
        "configs/quickstart.py: 2 points x 3 seeds x 4 folds = 24 runs",
        "2 to 5 epochs each, 2 programs; 5 finished before, in",
        str(tmp_path),
    ]
    one = plan.opening_line(planned("--sweep.seed=0", "--config.epochs=1"), programs=1, finished=0)
    assert "1 point x 1 seed = 1 run\n1 epoch each, 1 program, in\nruns/quickstart_sweep,seed=0,epochs=1" in one


def test_the_folder_in_the_opening_lines_can_be_pasted(tmp_path):
    made = planned("--sweep.seed=0:3", f"--workdir={tmp_path / 'a sweep'}")
    assert plan.opening_line(made, programs=1, finished=0).endswith(f"\n'{tmp_path / 'a sweep'}'")
