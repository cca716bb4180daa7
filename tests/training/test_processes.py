import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flexae_tf.errors import LostWorkerError, UsageError
from flexae_tf.training.processes import (
    Processes,
    find_processes,
    local_number,
    without_processes,
)

SLURM = dict(
    SLURM_JOB_ID='17',
    SLURM_STEP_ID='0',
    SLURM_STEP_NUM_TASKS='5',
    SLURM_STEP_NODELIST='gpu1,gpu10,gpu9',
    SLURM_STEP_TASKS_PER_NODE='2(x2),1',
    SLURM_PROCID='3',
    SLURM_LOCALID='1',
    SLURM_NODEID='1',
)


def tf_config(task, **cluster):
    return dict(TF_CONFIG=json.dumps(dict(cluster=cluster, task=task)))


def test_tf_config_names_workers():
    environ = tf_config(dict(type='worker', index=1), worker=['a:1', 'a:2', 'b:1'])
    processes = find_processes(environ)
    assert processes == Processes(('a:1', 'a:2', 'b:1'), 1) and processes.local_index == 1


def test_chief_of_tf_config_is_the_first_process():
    cluster = dict(worker=['b:1', 'c:1'], chief=['a:1'])
    worker = find_processes(tf_config(dict(type='worker', index=1), **cluster))
    chief = find_processes(tf_config(dict(type='chief', index=0), **cluster))
    assert worker == Processes(('a:1', 'b:1', 'c:1'), 2) and worker.local_index == 0
    assert chief.index == 0


@pytest.mark.parametrize(
    'environ, words',
    [
        (dict(TF_CONFIG='{'), 'TF_CONFIG: Expecting'),
        (dict(TF_CONFIG='[]'), 'TF_CONFIG: '),
        (tf_config(dict(type='worker', index=2), worker=['a:1', 'b:1']), 'index 2 of 2'),
        (tf_config(dict(type='worker', index=-1), worker=['a:1', 'b:1']), 'index -1 of 2'),
        (tf_config(dict(type='ps', index=0), worker=['a:1', 'b:1']), "no 'ps'"),
        (tf_config(dict(index=0), worker=['a:1', 'b:1']), "no 'type'"),
        (tf_config(dict(type='worker', index=0), worker=['a:1'], ps=['b:1']), 'type ps'),
        (tf_config(dict(type='worker', index=0), worker=['a', 'b:1']), 'not HOST:PORT'),
        (tf_config(dict(type='worker', index=0), worker=['a:1', 'a:1']), 'repeated'),
        (SLURM | dict(SLURM_STEP_TASKS_PER_NODE='2(x2)'), '3 nodes, but 2 numbers'),
        (SLURM | dict(SLURM_STEP_TASKS_PER_NODE='2(x2),x'), 'tasks per node are'),
        (SLURM | dict(SLURM_LOCALID='0'), 'not numbered node by node'),
        (SLURM | dict(SLURM_NODEID='2'), 'not numbered node by node'),
        (SLURM | dict(SLURM_PROCID='9'), 'Slurm: '),
        (SLURM | dict(SLURM_STEP_NODELIST='rack[1-2]n[1-2]'), 'scontrol'),
        ({k: v for k, v in SLURM.items() if k != 'SLURM_JOB_ID'}, "no 'SLURM_JOB_ID'"),
    ],
)
def test_invalid_environments_are_refused(environ, words):
    with pytest.raises(UsageError) as error:
        find_processes(environ)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_one_process_is_alone():
    assert find_processes({}) is None
    assert find_processes(dict(TF_CONFIG='{}')) is None
    assert find_processes(tf_config(dict(type='worker', index=0), worker=['a:1'])) is None
    assert find_processes(SLURM | dict(SLURM_STEP_NUM_TASKS='1')) is None


def test_number_on_a_machine_needs_no_order_of_tasks():
    unordered = SLURM | dict(SLURM_NODEID='2', SLURM_LOCALID='4')
    with pytest.raises(UsageError, match='not numbered node by node'):
        find_processes(unordered)
    assert local_number(unordered) == 4
    assert local_number(unordered | dict(SLURM_STEP_NUM_TASKS='1')) is None
    workers = tf_config(dict(type='worker', index=2), worker=['a:1', 'b:1', 'b:2'])
    assert local_number(workers) == 1 and local_number({}) is None


def test_commands_of_an_experiment_are_single_processes():
    environ = tf_config(dict(type='worker', index=0), worker=['a:1', 'b:1']) | SLURM
    assert find_processes(environ) and find_processes(without_processes(environ)) is None


def test_slurm_names_processes_node_by_node():
    processes = find_processes(SLURM)
    hosts = [address.partition(':')[0] for address in processes.addresses]
    assert hosts == ['gpu1', 'gpu1', 'gpu10', 'gpu10', 'gpu9']  # in the order of Slurm
    assert processes.index == 3 and processes.local_index == 1
    assert len(set(processes.addresses)) == 5
    other_job = find_processes(SLURM | dict(SLURM_JOB_ID='18'))
    assert not {*processes.addresses} & {*other_job.addresses}


def test_scontrol_expands_lists_of_nodes(tmp_path, monkeypatch):
    program = tmp_path / 'scontrol'
    program.write_text('#!/bin/sh\n[ "$3" = "rack[1-2]n1" ] && printf "rack1n1\\nrack2n1\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    environ = SLURM | dict(SLURM_STEP_NODELIST='rack[1-2]n1', SLURM_STEP_TASKS_PER_NODE='3,2')
    environ |= dict(SLURM_LOCALID='0')
    processes = find_processes(environ)
    hosts = [address.partition(':')[0] for address in processes.addresses]
    assert hosts == ['rack1n1'] * 3 + ['rack2n1'] * 2


@pytest.fixture
def addresses():
    """Addresses of three processes on this machine; the chief's port is free."""
    with socket.create_server(('localhost', 0)) as free:
        port = free.getsockname()[1]
    return tuple(f'localhost:{port + n}' for n in range(3))


def test_processes_meet(addresses):
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(Processes(addresses, index).meet, 30.0) for index in (1, 2)]
        assert not any(other.done() for other in others)
        Processes(addresses, 0).meet(30.0)
        for other in others:
            other.result(30.0)


def test_process_that_ends_while_it_waits_is_missed(addresses):
    with ThreadPoolExecutor(3) as pool:
        ended = pool.submit(Processes(addresses, 1).meet, 0.5)
        other = pool.submit(lambda: time.sleep(1.0) or Processes(addresses, 2).meet(1.0))
        with pytest.raises(LostWorkerError, match='process 1 .* did not start'):
            Processes(addresses, 0).meet(2.0)
        for process in (ended, other):
            with pytest.raises(LostWorkerError):
                process.result(30.0)


def test_processes_of_another_training_are_not_met(addresses):
    others = ('localhost:' + addresses[0].rpartition(':')[2], 'localhost:1', 'localhost:2')
    assert others[0] == addresses[0]
    with ThreadPoolExecutor(3) as pool:
        stranger = pool.submit(Processes(others, 1).meet, 1.0)
        own = pool.submit(Processes(addresses, 2).meet, 1.0)
        with pytest.raises(LostWorkerError, match=r'process 1 \(localhost:\d+\) did not start'):
            Processes(addresses, 0).meet(1.0)
        for process in (stranger, own):
            with pytest.raises(LostWorkerError, match=r'process 0 \(localhost:\d+\) did not'):
                process.result(30.0)


def test_port_of_the_chief_must_be_free(addresses):
    with (
        socket.create_server(('', int(addresses[0].rpartition(':')[2]))),
        pytest.raises(UsageError, match=r'port \d+ of this machine cannot be used'),
    ):
        Processes(addresses, 0).meet(1.0)
