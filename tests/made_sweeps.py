"""Sweep directories as a sweep would leave them, written by hand."""

import json

RATE, KERNEL = "optimizer.learning_rate", "model.kernel_size"


def make(folder, runs, chooses="val_accuracy", validation_is_test=False):
    """Writes a sweep: `runs` is (values, outcome) a member; an outcome is val_accuracy, a failure's kind or None."""
    members = []
    for values, outcome in runs:
        name = ",".join(f"{field}={value}" for field, value in values.items())
        members.append({"name": name, "values": values})
        if isinstance(outcome, float):
            finish(folder / name, outcome, values)
        elif outcome:
            (folder / name).mkdir()
            content = {"kind": outcome, "message": f"It {outcome}."}
            (folder / name / "failure.json").write_text(json.dumps(content))
    about = {"config_file": "configs/simple_cnn.py", "fields": list(runs[0][0]), "members": members}
    about |= {"chooses": chooses, "validation_is_test": validation_is_test}
    (folder / "sweep.json").write_text(json.dumps(about))
    return folder


def finish(folder, accuracy, values):
    """A run of three epochs whose second was tested: val_loss is 1 - accuracy, the test figures are 0.1 worse."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"config": values}))
    at = {1: 0.5, 2: accuracy, 3: 0.6}
    lines = [json.dumps({"epoch": e, "val_accuracy": a, "val_loss": 1 - a}) + "\n" for e, a in at.items()]
    (folder / "metrics.jsonl").write_text("".join(lines))
    result = {"epochs": 3, "tested_epoch": 2, "test_accuracy": accuracy - 0.1, "test_loss": 1.1 - accuracy}
    (folder / "result.json").write_text(json.dumps(result | {"seconds": 12.5}))


def rates(outcomes):
    """Runs of {learning rate: an outcome for each seed}."""
    return [({RATE: rate, "seed": seed}, run) for rate, runs in outcomes.items() for seed, run in enumerate(runs)]


THREE = rates({0.1: ["diverged", "diverged"], 0.01: [0.95, None, "out of memory"], 0.001: [0.98, 0.99, 0.97]})
