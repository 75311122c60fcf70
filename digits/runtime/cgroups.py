"""The limits that a container, or a job of a scheduler, sets to this process: Linux's control groups, versions 1 and 2.

A group's limits hold for the groups in it, so the smallest on the way up counts. Every function returns None where
nothing is limited, or the system has no such groups. `root` is the file system's, or a copy of its files.
"""

from collections.abc import Iterator
import pathlib
import re

_ROOT = pathlib.Path("/")
# A line of /proc/self/mountinfo: which group is mounted, and where.
_MOUNT = re.compile(r"(\S+ ){3}(?P<group>\S+) (?P<place>\S+) .*?- (?P<kind>cgroup2?) \S+ (?P<options>\S+)")
_NO_LIMIT = 2**60  # Version 1 writes the largest number of pages where memory is not limited.


def cores(root: pathlib.Path = _ROOT) -> float | None:
    """The processor time that the process may use, in cores: 1.5 for 150 ms in every 100 ms."""
    limits = []
    for version, folder in _groups("cpu", root):
        if version == 2:
            quota, *period = _words(folder / "cpu.max")
        else:
            quota, *period = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period and period[0].isdecimal() and int(period[0]):  # Neither "max" nor -1.
            limits.append(int(quota) / int(period[0]))
    return min(limits, default=None)


def free_memory(root: pathlib.Path = _ROOT) -> int | None:
    """The bytes that the process may still take. Cached files that the system would drop count as free."""
    return min((max(limit - used, 0) for limit, used in _memory(root)), default=None)


def _memory(root: pathlib.Path) -> Iterator[tuple[int, int]]:
    """The limit and the use of each group that has a limit, in bytes."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    for version, folder in _groups("memory", root):
        limit_file, used_file, cached_name = names[version]
        (limit, *_), (used, *_), stat = (_words(folder / name) for name in (limit_file, used_file, "memory.stat"))
        if limit.isdecimal() and int(limit) < _NO_LIMIT:
            cached = dict(zip(stat[::2], stat[1::2])).get(cached_name, "0")
            yield int(limit), int(used or 0) - int(cached)


def _words(path: pathlib.Path) -> list[str]:
    """The words of a file; an empty one, if there is no such file."""
    try:
        return path.read_text(encoding="ascii").split() or [""]
    except (OSError, ValueError):
        return [""]


def _groups(controller: str, root: pathlib.Path) -> Iterator[tuple[int, pathlib.Path]]:
    """The folders of the process's group for a controller and of the groups around it, each with its version."""
    own = {}  # The group's path in each hierarchy, by controller; that of version 2 has none.
    for line in _lines(root / "proc/self/cgroup"):
        if line.count(":") >= 2:
            _, names, path = line.split(":", 2)
            own |= dict.fromkeys(names.split(","), path)
    for mount in filter(None, map(_MOUNT.match, _lines(root / "proc/self/mountinfo"))):
        if mount["kind"] == "cgroup2":
            version, path = 2, own.get("")
        else:
            version, path = 1, own.get(controller) if controller in mount["options"].split(",") else None
        if not path:
            continue
        # A container may see its own group as the top of all, under a path that has no meaning in it.
        top, group = root / mount["place"].lstrip("/"), pathlib.PurePosixPath(path)
        group = group.relative_to(mount["group"]) if group.is_relative_to(mount["group"]) else pathlib.PurePosixPath()
        yield from ((version, top / each) for each in (group, *group.parents))


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
