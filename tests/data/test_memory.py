import pytest

from flexae_tf.data import memory
from flexae_tf.errors import UsageError


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
