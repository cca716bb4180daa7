"""Processes that train together on this machine."""

import json
import os
import socket
import subprocess
import sys

from tests.conftest import ROOT

FLAGS = [
    *('--dataset=synthetic_2d', '--train_examples=500', '--validation_examples=200'),
    *('--batch_size=16', '--critic_steps=1', '--precision=float32', '--device=cpu'),
    *('--log_every_steps=1', '--save_every_steps=3', '--sample_every_steps=5'),
]


def start(workdir, number=2, flags=(), own_flags=None):
    """Starts processes that train together; returns them.

    Args:
        workdir: folder of the run.
        number: number of processes.
        flags: flags of all processes.
        own_flags: further flags by process.
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
        command = [sys.executable, ROOT / 'bin' / 'train.py', *FLAGS, *flags, *own]
        processes.append(
            subprocess.Popen(
                [*command, f'--workdir={workdir}'],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                env=os.environ | dict(TF_CONFIG=config),
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
