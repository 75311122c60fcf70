"""Limits of containers, as made files of /proc and /sys/fs/cgroup show them."""

import pytest

from digits.runtime import cgroups, machine, memory

V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw master:1 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
)
GIB = 2**30


@pytest.fixture
def system(tmp_path):
    """Makes the files of a system, by path, and returns its root."""

    def make(mounts, groups, files):
        files = {"proc/self/mountinfo": f"{mounts}\n", "proc/self/cgroup": f"{groups}\n"} | files
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{content}\n")
        return tmp_path

    return make


def limits(root):
    return cgroups.cores(root), cgroups.free_memory(root)


def test_version_2_as_docker_and_kubernetes_show_it(system):
    files = {
        "cpu.max": "150000 100000",
        "memory.max": str(4 * GIB),
        "memory.current": str(3 * GIB),
        "memory.stat": f"anon {2 * GIB}\nfile {GIB}\ninactive_file {GIB}\nactive_file 0",
    }
    root = system(V2.format(root="/"), "0::/", {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert limits(root) == (1.5, 2 * GIB)


def test_version_2_without_limits(system):
    files = {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "5"}
    root = system(V2.format(root="/"), "0::/", {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert limits(root) == (None, None)


def test_the_smallest_limit_of_the_groups_around_counts(system):
    """As systemd and SLURM nest them: a slice of two cores, in it a service of four, in it one without a limit."""
    files = {
        "user.slice/cpu.max": "200000 100000",
        "user.slice/memory.max": str(GIB),
        "user.slice/memory.current": "1000",
        "user.slice/job/cpu.max": "40000 10000",
        "user.slice/job/memory.max": str(2 * GIB),
        "user.slice/job/memory.current": str(2 * GIB),
        "user.slice/job/step/cpu.max": "max 100000",
        "other.slice/cpu.max": "10000 100000",
    }
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    root = system(V2.format(root="/"), "0::/user.slice/job/step", files)
    assert limits(root) == (2.0, 0)


@pytest.mark.parametrize("mounted", ["/", "/docker/0123"])
def test_version_1_with_and_without_a_namespace_of_its_own(mounted, system):
    group = "" if mounted != "/" else "docker/0123/"
    files = {
        f"cpu,cpuacct/{group}cpu.cfs_quota_us": "50000",
        f"cpu,cpuacct/{group}cpu.cfs_period_us": "100000",
        f"memory/{group}memory.limit_in_bytes": str(2 * GIB),
        f"memory/{group}memory.usage_in_bytes": str(2 * GIB),
        f"memory/{group}memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}",
    }
    groups = "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n1:name=systemd:/docker/0123\n0::/system.slice"
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert limits(system(V1.format(root=mounted), groups, files)) == (0.5, GIB)


def test_version_1_without_limits(system):
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.usage_in_bytes": "5",
    }
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert limits(system(V1.format(root="/"), "4:memory:/\n3:cpu,cpuacct:/", files)) == (None, None)


@pytest.mark.parametrize(
    "mounts, groups, text",
    [
        ("", "", "1 1"),
        ("nonsense - cgroup2", "0::/", "1 1"),
        (V2.format(root="/"), "nonsense", "1 1"),
        (V2.format(root="/"), "0::/../../etc", "100000 0"),
        (V2.format(root="/"), "0::/", ""),
        (V2.format(root="/"), "0::/", "many cores"),
    ],
)
def test_files_that_say_nothing_limit_nothing(mounts, groups, text, system):
    names = ("cpu.max", "memory.max", "memory.current", "memory.stat")
    root = system(mounts, groups, {f"sys/fs/cgroup/{name}": text if name == "cpu.max" else "x" for name in names})
    assert limits(root) == (None, None)
    assert limits(root / "nowhere") == (None, None)


@pytest.mark.parametrize("quota, expected", [(None, 8), (16.0, 8), (3.0, 3), (1.5, 2), (0.25, 1)])
def test_a_quota_counts_as_cores_and_a_part_of_one_as_one(quota, expected, monkeypatch):
    monkeypatch.setattr(machine, "_allowed_cores", lambda: 8)
    monkeypatch.setattr(cgroups, "cores", lambda: quota)
    assert machine.cores() == expected


@pytest.mark.parametrize("left, expected", [(None, 4 * GIB), (5 * GIB, 4 * GIB), (GIB, GIB)])
def test_free_memory_is_what_the_container_may_still_have(left, expected, monkeypatch):
    class Cpu:
        def memory_stats(self):
            return None

    class Available:
        available = 4 * GIB

    monkeypatch.setattr(memory.psutil, "virtual_memory", Available)
    monkeypatch.setattr(cgroups, "free_memory", lambda: left)
    assert memory.free(Cpu()) == expected
