"""Made-up trees of /proc and /sys/fs/cgroup, as Docker, Kubernetes, systemd and Slurm make them."""
import os

import pytest

from cxrdet.core.machine import memory_limit, shared_memory_free, usable_cpus

V1 = """25 24 0:23 / /dev/shm rw,relatime shared:3 - tmpfs tmpfs rw,size=65536k
32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 {top} /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""
V2 = '31 25 0:28 {top} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n'
HYBRID = V1 + '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n'
OF_V1 = '4:memory:{own}\n3:cpuset:{own}\n1:cpu,cpuacct:{own}\n'
OF_V2 = '0::{own}\n'
GIB = 2 ** 30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine of 8 cores and 16 GiB: its mounts, the control group of the process, files of control groups."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(8)), raising=False)

    def make(mounts='', own='', **files):
        files = {f'sys/fs/cgroup/{name}': text for name, text in files.items()} | {
            'proc/self/mountinfo': mounts, 'proc/self/cgroup': own,
            'proc/meminfo': f'MemTotal:       {16 * 2 ** 20} kB\nMemFree:  1 kB\n'}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f'{text}\n')
        return tmp_path
    return make


def v1(quota, period=100000):
    return {'cpu.cfs_quota_us': quota, 'cpu.cfs_period_us': period}


def within(folder, files):
    return {f'{folder}/{name}': text for name, text in files.items()}


CPUS = [
    ('no control groups', '', '', {}, 8),
    ('v1, no limit', V1.format(top='/'), OF_V1.format(own='/'), within('cpu,cpuacct', v1(-1)), 8),
    ('v1, a quota of 2.5 cores', V1.format(top='/'), OF_V1.format(own='/'), within('cpu,cpuacct', v1(250000)), 3),
    ('v1, a small quota', V1.format(top='/'), OF_V1.format(own='/'), within('cpu,cpuacct', v1(5000)), 1),
    ('v1, the quota of the parent', V1.format(top='/'), OF_V1.format(own='/docker/abc/inner'),
     within('cpu,cpuacct/docker/abc/inner', v1(600000)) | within('cpu,cpuacct/docker/abc', v1(100000, 50000)), 2),
    ('v1, the mount shows the end of the path', V1.format(top='/docker/abc'), OF_V1.format(own='/docker/abc'),
     within('cpu,cpuacct', v1(400000)), 4),
    ('v1, a path that cannot be seen', V1.format(top='/docker/abc'), OF_V1.format(own='/kubepods/pod'),
     within('cpu,cpuacct', v1(400000)), 4),
    ('v1, cpuset', V1.format(top='/'), OF_V1.format(own='/job'), {'cpuset/job/cpuset.cpus': '0-2,7'}, 4),
    ('v1, effective cpuset', V1.format(top='/'), OF_V1.format(own='/job'),
     {'cpuset/job/cpuset.cpus': '', 'cpuset/job/cpuset.effective_cpus': '5'}, 1),
    ('v2, no limit', V2.format(top='/'), OF_V2.format(own='/'), {'cpu.max': 'max 100000'}, 8),
    ('v2, a quota of 1.5 cores', V2.format(top='/'), OF_V2.format(own='/'), {'cpu.max': '150000 100000'}, 2),
    ('v2, the grandparent is tightest', V2.format(top='/'), OF_V2.format(own='/a/b/c'),
     {'a/b/c/cpu.max': 'max 100000', 'a/b/cpu.max': '700000 100000', 'a/cpu.max': '300000 100000'}, 3),
    ('v2, another group does not count', V2.format(top='/'), OF_V2.format(own='/a/b'),
     {'a/b/cpu.max': '600000 100000', 'a/c/cpu.max': '100000 100000'}, 6),
    ('v2, outside of the namespace', V2.format(top='/'), OF_V2.format(own='/../other'),
     {'cpu.max': '200000 100000'}, 2),
    ('v2, cpuset', V2.format(top='/'), OF_V2.format(own='/a'), {'a/cpuset.cpus.effective': '1,3-4'}, 3),
    ('v2, more than the cores', V2.format(top='/'), OF_V2.format(own='/'), {'cpu.max': '6400000 100000'}, 8),
    ('both versions', HYBRID.format(top='/'), OF_V1.format(own='/x') + OF_V2.format(own='/y'),
     within('cpu,cpuacct/x', v1(500000)) | {'unified/y/cpu.max': '300000 100000'}, 3),
    ('unreadable numbers', V2.format(top='/'), OF_V2.format(own='/'), {'cpu.max': ''}, 8)]


@pytest.mark.parametrize('mounts, own, files, expected', [case[1:] for case in CPUS], ids=[case[0] for case in CPUS])
def test_usable_cpus(machine, mounts, own, files, expected):
    assert usable_cpus(machine(mounts, own, **files)) == expected


def test_affinity_counts(machine, monkeypatch):
    root = machine(V2.format(top='/'), OF_V2.format(own='/'), **{'cpu.max': '300000 100000'})
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {5}, raising=False)
    assert usable_cpus(root) == 1
    monkeypatch.delattr(os, 'sched_getaffinity')
    monkeypatch.setattr(os, 'cpu_count', lambda: 2)
    assert usable_cpus(root) == 2
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    assert usable_cpus(root) == 1


NONE = 9223372036854771712  # what cgroup v1 writes without a limit
MEMORY = [
    ('no control groups', '', '', {}, 16 * GIB),
    ('v1, no limit', V1.format(top='/'), OF_V1.format(own='/'), {'memory/memory.limit_in_bytes': NONE}, 16 * GIB),
    ('v1, the parent', V1.format(top='/'), OF_V1.format(own='/a/b'),
     {'memory/a/b/memory.limit_in_bytes': NONE, 'memory/a/memory.limit_in_bytes': 2 * GIB}, 2 * GIB),
    ('v2, no limit', V2.format(top='/'), OF_V2.format(own='/'), {'memory.max': 'max'}, 16 * GIB),
    ('v2, tightest', V2.format(top='/'), OF_V2.format(own='/a/b'),
     {'a/b/memory.max': 3 * GIB, 'a/memory.max': GIB, 'memory.max': 'max'}, GIB),
    ('v2, more than the machine', V2.format(top='/'), OF_V2.format(own='/'), {'memory.max': 64 * GIB}, 16 * GIB)]


@pytest.mark.parametrize('mounts, own, files, expected', [case[1:] for case in MEMORY],
                         ids=[case[0] for case in MEMORY])
def test_memory_limit(machine, mounts, own, files, expected):
    assert memory_limit(machine(mounts, own, **files)) == expected


def test_nothing_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1}, raising=False)
    assert usable_cpus(tmp_path) == 2
    assert memory_limit(tmp_path) is None
    assert shared_memory_free(tmp_path) is None


def test_shared_memory_free(tmp_path):
    (tmp_path / 'dev' / 'shm').mkdir(parents=True)
    assert shared_memory_free(tmp_path) > 0


def test_of_this_machine():
    assert 1 <= usable_cpus() <= os.cpu_count()
