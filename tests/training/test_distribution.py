import pytest
import tensorflow as tf

from flexae_tf.errors import LostWorkerError, UsageError
from flexae_tf.training import distribution
from flexae_tf.training.distribution import (
    Cluster,
    check_shares,
    choose_devices,
    choose_strategy,
    prepare_devices,
    processes_of,
)
from flexae_tf.training.processes import Processes
from tests.conftest import DEVICES


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(number)`: lets TensorFlow see GPUs; returns those that a process makes visible."""
    visible = []

    def see(number):
        visible[:] = names = [f'GPU{i}' for i in range(number)]
        replaced = dict(
            list_physical_devices=lambda _: list(names),
            get_visible_devices=lambda _: list(visible),
            set_visible_devices=lambda devices, _: visible.__setitem__(slice(None), devices),
        )
        for name, function in replaced.items():
            monkeypatch.setattr(tf.config, name, function)
        monkeypatch.setattr(tf.config.experimental, 'get_device_details', lambda _: {})
        monkeypatch.setattr(tf.config.experimental, 'set_memory_growth', lambda *_: None)
        return visible

    return see


@pytest.mark.parametrize(
    ('value', 'local', 'expected'),
    [
        ('auto', None, '0 1 2'),
        ('mirrored', None, '0 1 2'),
        ('none', None, '0'),
        ('auto', 1, '1'),  # an evaluation in a step of several tasks
        ('mirrored', 1, '0 1 2'),
        ('none', 1, '1'),
        ('none', 5, '2'),  # independent processes may share a GPU
    ],
)
def test_process_uses_the_gpu_of_its_number(value, local, expected, gpus, monkeypatch):
    if local is not None:
        monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '8')
        monkeypatch.setenv('SLURM_LOCALID', str(local))
    visible = gpus(3)
    line = choose_devices('auto', value)
    assert visible == [f'GPU{i}' for i in expected.split()]
    assert line == f'device: {len(visible)} x GPU GPU'


def test_independent_programs_need_no_order_of_tasks(monkeypatch):
    for name, value in dict(STEP_NUM_TASKS='8', PROCID='5', LOCALID='1').items():
        monkeypatch.setenv(f'SLURM_{name}', value)
    assert prepare_devices('cpu', 'auto').num_replicas_in_sync == 1
    with pytest.raises(UsageError, match='cannot be found'):
        processes_of('auto')


def test_processes_that_train_together_do_not_share_a_gpu(gpus):
    visible = gpus(2)
    addresses = ('a:1', 'a:2', 'a:3')
    choose_devices('auto', 'auto', Processes(addresses, 1))
    assert visible == ['GPU1']
    with pytest.raises(UsageError, match='more processes than the 2 GPUs'):
        choose_devices('auto', 'auto', Processes(addresses, 2))


@pytest.mark.parametrize('number', [0, 1])
def test_strategy_of_several_processes_knows_its_gpus(number, gpus, monkeypatch):
    gpus(number)  # otherwise TensorFlow computes on the CPU
    monkeypatch.setattr(Processes, 'meet', lambda *_: None)
    monkeypatch.setattr(tf.distribute, 'MultiWorkerMirroredStrategy', lambda resolver: resolver)
    resolver = choose_strategy('auto', Processes(('a:1', f'b:{number}'), 1))
    assert resolver.num_accelerators() == {'GPU': number} and resolver.task_id == 1


def test_mirrored_strategy_of_one_device_is_the_default(monkeypatch):
    one = tf.distribute.OneDeviceStrategy('CPU:0')
    monkeypatch.setattr(tf.distribute, 'MirroredStrategy', lambda: one)
    distribution._mirrored.cache_clear()
    assert choose_strategy('mirrored') is tf.distribute.get_strategy()
    distribution._mirrored.cache_clear()


@pytest.mark.parametrize(
    ('error', 'is_lost'),
    [
        (tf.errors.UnavailableError(None, None, '/job:worker/replica:0/task:1 is gone'), True),
        (tf.errors.InternalError(None, None, 'NCCL: remote process exited'), True),
        (tf.errors.InternalError(None, None, 'a bug'), False),
    ],
)
def test_lost_processes_are_told_from_other_errors(error, is_lost):
    class Strategy:
        cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({'worker': ['a:1', 'b:1']}), task_type='worker', task_id=0
        )

    with pytest.raises(LostWorkerError if is_lost else type(error)), Cluster(Strategy).connected():
        raise error


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
