import pytest

from flexae_tf.errors import UsageError
from flexae_tf.training.distribution import check_shares, prepare_devices, processes_of
from tests.conftest import DEVICES


def test_check_shares_refuses_batches_that_cannot_be_split():
    check_shares(16, 2)
    with pytest.raises(UsageError, match='batch_size=15: cannot be split over 2'):
        check_shares(15, 2)


@pytest.mark.parametrize('distribution', ['none', 'mirrored'])
def test_processes_must_not_be_forbidden(distribution, monkeypatch):
    assert processes_of(distribution) is None
    config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv('TF_CONFIG', config)
    assert processes_of('auto').addresses == ('a:1', 'b:1')
    with pytest.raises(UsageError, match=f'--distribution={distribution}: TF_CONFIG names'):
        processes_of(distribution)


def test_replay_is_for_one_process(here, tmp_path, monkeypatch):
    config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv('TF_CONFIG', config)
    with pytest.raises(UsageError, match='--replay_step: works in one process'):
        here('train', '--dataset=synthetic_2d', f'--workdir={tmp_path}', '--replay_step=3')


def test_batch_is_checked_before_other_processes_are_waited_for(here, tmp_path, monkeypatch):
    config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv('TF_CONFIG', config)
    with pytest.raises(UsageError, match='--batch_size=15: cannot be split over 2'):
        here('train', '--dataset=synthetic_2d', f'--workdir={tmp_path}', '--batch_size=15')


def test_multi_worker_needs_other_processes():
    assert processes_of('auto') is None
    with pytest.raises(UsageError, match='there is one process only'):
        processes_of('multi_worker')


def test_programs_of_one_process_use_all_devices(monkeypatch, capsys):
    assert prepare_devices('cpu', 'mirrored').num_replicas_in_sync == DEVICES
    assert prepare_devices('auto', 'none').num_replicas_in_sync == 1
    assert capsys.readouterr().out.count('device: CPU') == 2
    config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
    monkeypatch.setenv('TF_CONFIG', config)
    assert prepare_devices('cpu', 'auto').num_replicas_in_sync == 1
    with pytest.raises(UsageError, match='--distribution=mirrored: TF_CONFIG names'):
        prepare_devices('cpu', 'mirrored')
