"""Trains a sweep on a Ray cluster: every program is a task, in a process of its own on a node that has room for it.

The process that calls `train_members` hands out the tasks and watches the members' folders, which all nodes must see;
it never starts JAX. A task trains its members with `population.train_members`, and so with the same bits. If its
process or its node dies, Ray runs the task again, on another node if need be, and it goes on from the checkpoints.
"""

from collections.abc import Sequence
import concurrent.futures
import contextlib
import logging
import os
import pathlib
import platform
import re
import socket
import time
from typing import Any

from digits.config.values import config_from_json, config_to_json
from digits.errors import UserError
from digits.runtime import paths, private
from digits.runtime.signals import Interrupted, Listener
from digits.sweeps import population
from digits.sweeps.members import SECONDS_BETWEEN_LOOKS, Member, Watcher

_RETRIES = 4  # Of a task whose process or node died.
_SECONDS_TO_ANSWER = 5
_SECONDS_TO_SAVE = 60.0  # A task that compiles notices its cancellation only afterwards.
_SECONDS_TO_SHOW = 90.0  # A network file system may take so long to show a task's files here.
# Environment variables of this process that the tasks get too.
_FOLDERS = ("DIGITS_DATA_DIR", "DIGITS_CACHE_DIR", "DIGITS_WRITERS_DIR", "TFDS_DATA_DIR")
_SETTINGS = ("JAX_PLATFORMS", "XLA_FLAGS")
_MEMORY_FRACTION = 0.75  # The part of a GPU's memory that JAX reserves.


def check(cpus: float, gpus: float) -> None:
    """Raises UserError if Ray is not installed, does not answer, or grants no such request. Takes half a second.

    check(cpus=2, gpus=0.5)
    """
    address = os.environ.get("RAY_ADDRESS", "")
    # Ray reads these once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", str(_SECONDS_TO_ANSWER))
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--launcher=ray needs Ray, which cannot be imported ({error}): pip install -r requirements-ray.txt, or "
            "leave the launcher out to train here."
        ) from error
    if not cpus and not gpus:
        raise UserError("--cpus and --gpus are both 0, but a program must ask for one of them.")
    if gpus > 1 and gpus % 1:
        raise UserError(f"--gpus is {gpus:g}, but it must be a share of one GPU, below 1, or a whole number.")
    if server := re.fullmatch(r"([^/]+):(\d+)", address):
        try:  # Ray itself would try for many minutes.
            socket.create_connection((server[1].strip("[]"), int(server[2])), timeout=_SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"RAY_ADDRESS is {address!r}, but no Ray cluster answers there ({error}).") from error


def train_members(
    members: Sequence[Member],
    data_dir: str | None,
    progress: Watcher,
    cpus: float = 1,
    gpus: float = 0,
    command: str = "the same call",
) -> None:
    """Trains every member, or goes on with it, on the cluster of RAY_ADDRESS or else on this machine.

        train_members(members, None, Watcher(), cpus=2)

    A member or a task that fails leaves a failure.json and does not stop the others.

    Args:
      members: their folders lie on storage that all nodes share.
      data_dir: see `data.load`.
      progress: receives every member that ends, once.
      cpus, gpus: the cores and GPUs that a program asks for. Without GPUs it trains as many members at a time as it has
        cores, unless `config.population.workers` says otherwise.
      command: the command that goes on with an interrupted sweep.

    Raises:
      UserError: there is no such cluster, or this machine cannot grant the request; nothing was trained.
      Interrupted: SIGINT or SIGTERM; every member was saved.
    """
    left = [member for member in members if not member.ended]
    if not left:
        return
    for member in left:
        member.files.forget_failure()  # A failure that is found from now on is of this call.
    with _connected(progress, cpus, gpus) as ray, Listener() as listener:
        options = {"num_cpus": cpus, "num_gpus": gpus, "runtime_env": {"env_vars": _environment(gpus)}}
        task = ray.remote(**options, max_retries=_RETRIES, retry_exceptions=[InterruptedError])(_train)
        data_dir, folder = data_dir and str(paths.local(data_dir, "--data_dir").absolute()), os.getcwd()
        running = {
            task.remote([_packed(member, cpus, gpus) for member in group], data_dir, folder): _Watch(group, progress)
            for group in population.groups(left)
        }
        while running:
            ended, _ = ray.wait(list(running), timeout=SECONDS_BETWEEN_LOOKS)
            for watch in running.values():
                watch.look()
            if listener.heard:
                for reference in running:
                    ray.cancel(reference)  # As SIGINT would.
                ray.wait(list(running), num_returns=len(running), timeout=_SECONDS_TO_SAVE)
                for watch in running.values():
                    watch.look()  # A member may have ended meanwhile.
                raise Interrupted(listener.heard, command)
            for reference in ended:
                _end(ray, reference, running.pop(reference))


@contextlib.contextmanager
def _connected(progress: Watcher, cpus: float, gpus: float):
    """Gives Ray, connected to the cluster of RAY_ADDRESS or to one that it starts here and ends afterwards."""
    import ray

    private.redirect_ray_logs(ray, lambda lines: _tell(lines, progress))
    connected, address = ray.is_initialized(), os.environ.get("RAY_ADDRESS")
    if not connected:
        try:
            quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "include_dashboard": False}
            ray.init(address=address or "local", **quiet)
        except Exception as error:  # Ray raises many types.
            reason = _sentence(error).rstrip(".")
            if not address:
                raise UserError(f"Ray cannot be started here: {reason}.") from error
            raise UserError(
                f"RAY_ADDRESS is {address!r}, but that cluster cannot be joined ({reason}): it must run the same Ray "
                "and Python as this process, which needs RAY_AUTH_MODE=token if the cluster has a token."
            ) from error
    try:
        sizes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(size.get("CPU", 0) >= cpus and size.get("GPU", 0) >= gpus for size in sizes):
            request = f"--cpus={cpus:g} --gpus={gpus:g} for a program"
            if not connected and not address:
                raise UserError(f"This machine does not have {request}.")
            progress.say(f"no node of the cluster has {request}: waiting for one")
        yield ray
    finally:
        if not connected:
            ray.shutdown()


def _tell(lines: list[str], progress: Watcher) -> None:
    """Reports the one message in Ray's logs that a user may want: a task is run again."""
    if left := re.search(r"There are (\d+) retries remaining", " ".join(lines)):
        progress.say(f"the process or the node of a program died: it is run again (retries left: {left[1]})")


def _environment(gpus: float) -> dict[str, str]:
    """The environment variables of a task."""
    importable = [str(pathlib.Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}
    given |= {name: os.path.abspath(folder) for name in _FOLDERS if (folder := paths.folder_of(name))}
    if not gpus:
        given.setdefault("JAX_PLATFORMS", "cpu")  # It must not take the GPU of another task.
    elif gpus < 1:
        given["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_MEMORY_FRACTION * gpus:.3f}"
    return given | {"PYTHONPATH": os.pathsep.join(importable)}


def _packed(member: Member, cpus: float, gpus: float) -> tuple[dict, str, dict[str, Any]]:
    """A member as plain values: its config as JSON, its folder and its origin."""
    fields = config_to_json(member.config)
    if not gpus:
        fields["population"]["workers"] = fields["population"]["workers"] or max(1, int(cpus))
    return fields, str(member.files.path), member.origin


def _train(packed: list[tuple[dict, str, dict[str, Any]]], data_dir: str | None, folder: str) -> None:
    """The task: trains the members on its node. Relative paths start at `folder`."""
    node = os.getppid()
    with contextlib.suppress(OSError):
        os.chdir(folder)
    members = [Member(config_from_json(fields), *rest) for fields, *rest in packed]
    if not (sweep := members[0].files.path.parent).is_dir():
        raise UserError(
            f"{sweep} is not there on {platform.node()}: --workdir must be on storage that all nodes share."
        )
    with Listener() as listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        training = pool.submit(population.train_members, members, data_dir, listener=listener)
        # Ray imitates a signal, which does not wake a thread that waits without end, as a training does.
        while not training.done():
            concurrent.futures.wait([training], timeout=SECONDS_BETWEEN_LOOKS)
            if os.getppid() != node:
                os._exit(1)  # The node's own process died: Ray is about to run the task on another node.
        try:
            training.result()
        except Interrupted as error:
            # If the user did not ask for it, the node is about to go: Ray tries the task on another one.
            raise InterruptedError(str(error)) from None


class _Watch:
    """Reads the folders of a task's members and reports to `progress`; `left` are the members that have not ended."""

    def __init__(self, members: list[Member], progress: Watcher):
        self.left, self._progress = list(members), progress
        self._epochs = {member.workdir: len(member.files.history()) for member in members}

    def look(self) -> None:
        """Reports the images of the epochs recorded since the last look, and the members that have ended."""
        for member in list(self.left):
            with contextlib.suppress(UserError):  # A file vanished while it was read.
                if (epochs := len(member.files.history()) - self._epochs[member.workdir]) > 0:
                    self._epochs[member.workdir] += epochs
                    images = member.files.about()["data"]["train"]
                    self._progress.images(member, epochs * images)
                if (result := member.files.result()) or member.files.failure():
                    self._progress.finished(member, result, None if result else member.files.failure())
                    self.left.remove(member)


def _end(ray: Any, reference: Any, watch: _Watch) -> None:
    """Reports the members of a task that ended. If it failed, so did those of them that had not ended."""
    try:
        ray.get(reference)
    except ray.exceptions.RayError as error:
        watch.look()
        for member in watch.left:
            member.files.write_failure("error", _sentence(error))
    watch.look()
    until = time.monotonic() + _SECONDS_TO_SHOW
    while watch.left and time.monotonic() < until:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        watch.look()


def _sentence(error: Exception) -> str:
    """The message of an error, on one line and without the traceback of the task."""
    error = getattr(error, "cause", None) or error
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
