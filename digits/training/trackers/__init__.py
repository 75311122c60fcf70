"""Trackers of runs, each adapted by one module: mlflow.py, wandb.py, trackio.py. `digits.training.tracking` calls them.

Importing this package sets, where the user has not, the environment variables that the trackers read: by default
nothing leaves the machine, and no tracker prints.
"""

import os

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # By default a server that does not answer is asked for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "WANDB_MODE": "offline",
    "WANDB_PROJECT": "digits",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_ERROR_REPORTING": "false",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

PROJECT = "digits"
