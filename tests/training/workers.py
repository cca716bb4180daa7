"""Processes that train together on this machine."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.methods.resolve import resolve, train_config
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT

FLAGS = [
    *('--dataset=synthetic_2d', '--train_examples=500', '--validation_examples=200'),
    *('--batch_size=16', '--critic_steps=1', '--precision=float32', '--device=cpu'),
    *('--log_every_steps=1', '--save_every_steps=3', '--sample_every_steps=5'),
]


def start(workdir, number=2, flags=(), own_flags=None, program=ROOT / 'bin' / 'train.py'):
    """Starts processes that train together; returns them.

    Args:
        workdir: folder of the run.
        number: number of processes.
        flags: flags of all processes.
        own_flags: further flags by process.
        program: path of the program.
    """
    sockets = [socket.socket() for _ in range(number)]
    for free in sockets:
        free.bind(('localhost', 0))
    addresses = [f'localhost:{free.getsockname()[1]}' for free in sockets]
    for free in sockets:
        free.close()
    processes = []
    for index in range(number):
        task = dict(type='worker', index=index)
        config = json.dumps(dict(cluster=dict(worker=addresses), task=task))
        own = (own_flags or {}).get(index, ())
        command = [sys.executable, program, *FLAGS, *flags, *own]
        processes.append(
            subprocess.Popen(
                [*command, f'--workdir={workdir}'],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                env=os.environ | (dict(TF_CONFIG=config) if number > 1 else {}),
            )
        )
    return processes


def finish(processes, timeout=240):
    """Waits for processes; returns their exit codes and what they printed."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def assert_processes_equal_devices(mirrored, folder, number, flags=()):
    """Asserts that all variables are equal after 5 steps; returns what the processes printed.

    Args:
        mirrored: fixture of that name.
        folder: an empty folder.
        number: number of processes and of devices.
        flags: flags of the training.
    """
    flags = [*flags, '--training_steps=5']
    started = start(folder / 'processes', number, flags)
    config = train_config([*FLAGS, *flags, f'--workdir={folder / "devices"}'])
    dataset = data.load(config)
    Trainer(resolve(config, dataset.spec), dataset, strategy=mirrored(number)).train()
    codes, outputs = finish(started)
    assert codes == [0] * number, outputs
    a, b = (_variables(folder / name, 5) for name in ('processes', 'devices'))
    assert a.keys() == b.keys() and len(a) > 10
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    return outputs


def _variables(run, step):
    """Returns the variables of a checkpoint by name."""
    reader = tf.train.load_checkpoint(str(run / 'checkpoints' / f'ckpt-{step:09d}'))
    names = [name for name in reader.get_variable_to_shape_map() if 'OBJECT_GRAPH' not in name]
    return {name: reader.get_tensor(name) for name in names}
