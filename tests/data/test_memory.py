import subprocess
import sys
import types

import numpy as np
import pytest

from flexae_tf.data import memory
from flexae_tf.errors import UsageError
from tests.conftest import ROOT


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Returns (membership file, root folder) of control groups without any limit."""
    monkeypatch.setattr(memory, 'CGROUP_FILE', tmp_path / 'groups')
    monkeypatch.setattr(memory, 'CGROUP_ROOT', tmp_path)
    return tmp_path / 'groups', tmp_path


def test_available_reads_limits_of_version_2_groups_and_their_parents(cgroups):
    groups, root = cgroups
    machine = memory.available()  # no file with a limit
    job = root / 'slurm' / 'job_7' / 'step_0'
    job.mkdir(parents=True)
    groups.write_text('0::/slurm/job_7/step_0\n')
    (job / 'memory.max').write_text('max\n')
    assert memory.available() == machine
    (job.parent / 'memory.max').write_text('3000000\n')
    assert memory.available() == 3_000_000


def test_available_reads_limits_of_version_1_groups(cgroups):
    groups, root = cgroups
    groups.write_text('5:cpu:/slurm\n4:memory:/slurm/job_7\n')
    (root / 'memory' / 'slurm').mkdir(parents=True)
    (root / 'memory' / 'slurm' / 'memory.limit_in_bytes').write_text('2000000')
    assert memory.available() == 2_000_000


def test_check_refuses_more_than_available(monkeypatch):
    monkeypatch.setattr(memory, 'available', lambda: 3_000_000)
    memory.check(3_000_000, 'they')
    with pytest.raises(UsageError, match='they: 0.0 GiB of memory needed, 0.0 GiB available'):
        memory.check(3_000_001, 'they')


def test_peak_is_of_this_process_only(monkeypatch, tmp_path):
    program = 'from flexae_tf.data import memory; print(memory.peak())'
    large = np.ones(2**27)  # 1 GiB, which the started process does not have
    started = subprocess.check_output([sys.executable, '-c', program], cwd=ROOT)
    assert 0.0 < float(started) < large.nbytes / 2**30 <= memory.peak()
    status = tmp_path / 'status'
    status.write_text('VmPeak:\t 9000000 kB\nVmHWM:\t 3145728 kB\nVmRSS:\t 1000 kB\n')
    monkeypatch.setattr(memory, 'STATUS_FILE', status)
    assert memory.peak() == 3.0


@pytest.mark.parametrize(('platform', 'unit'), [('linux', 2**10), ('darwin', 1)])
def test_peak_is_in_gib(monkeypatch, tmp_path, platform, unit):
    monkeypatch.setattr(memory, 'STATUS_FILE', tmp_path / 'missing')
    monkeypatch.setattr(memory.sys, 'platform', platform)
    usage = types.SimpleNamespace(ru_maxrss=3 * 2**30 // unit)
    monkeypatch.setattr(memory.resource, 'getrusage', lambda _: usage)
    assert memory.peak() == 3.0


def test_available_is_unlimited_if_the_system_does_not_say(cgroups, monkeypatch):
    def unknown(_):
        raise ValueError('unrecognized configuration name')

    monkeypatch.setattr(memory.os, 'sysconf', unknown)
    memory.check(2**50, 'they')
