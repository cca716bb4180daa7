"""Processes that train together: found by TF_CONFIG or Slurm, and waited for without TensorFlow.

TensorFlow would wait for them in one call, in which no signal ends a process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flexae_tf import shutdown
from flexae_tf.errors import LostWorkerError, UsageError

# First port of the processes of a Slurm job step; steps of a node must have different ports.
_FIRST_PORT, _NUM_PORTS = 15_000, 15_000
_GO = b'go'
_POLL_SECONDS = 0.2  # between attempts to reach another process


class Processes(NamedTuple):
    """The processes of a training, and which of them this one is.

    Attributes:
        addresses: `host:port` of each process; the first process is the chief.
        index: position of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def local_index(self) -> int:
        """Position of this process on its machine, which is the number of its GPU."""
        hosts = [address.rpartition(':')[0] for address in self.addresses]
        return hosts[: self.index].count(hosts[self.index])

    def meet(self, seconds: float) -> None:
        """Returns as soon as all processes have called this method.

        Args:
            seconds: longest time to wait.

        Raises:
            LostWorkerError: a process has not called it in time; the message names it.
            UsageError: the chief cannot use its port.
            Interrupted: a signal was received.
        """
        deadline = time.monotonic() + seconds
        hello = hashlib.sha256(repr(self.addresses).encode()).digest()[:8]
        if self.index:
            self._meet_chief(hello + self.index.to_bytes(4), deadline)
        else:
            self._meet_others(hello, deadline)

    def _meet_chief(self, hello: bytes, deadline: float) -> None:
        host, _, port = self.addresses[0].rpartition(':')
        while True:
            with contextlib.suppress(OSError):
                # The chief answers when all processes are there.
                left = max(_POLL_SECONDS, deadline - time.monotonic())
                with socket.create_connection((host, int(port)), timeout=_POLL_SECONDS) as chief:
                    chief.sendall(hello)
                    if self._receive(chief, len(_GO), left) == _GO:
                        return
            self._wait([0], deadline)

    def _meet_others(self, hello: bytes, deadline: float) -> None:
        port = int(self.addresses[0].rpartition(':')[2])
        there: dict[int, socket.socket] = {}
        try:
            listener = socket.create_server(('', port), backlog=len(self.addresses))
        except OSError as error:
            raise UsageError(
                f'--distribution: port {port} of this machine cannot be used ({error.strerror}). '
                'Wait until the other training has ended, or use another port.'
            ) from None
        with listener, contextlib.ExitStack() as connections:
            listener.settimeout(_POLL_SECONDS)
            while missing := {*range(1, len(self.addresses))} - there.keys():
                with contextlib.suppress(OSError):
                    connection = connections.enter_context(listener.accept()[0])
                    said = self._receive(connection, len(hello) + 4, _POLL_SECONDS)
                    index = int.from_bytes(said[len(hello) :])
                    if said.startswith(hello) and index < len(self.addresses):
                        there[index] = connection
                self._wait(sorted(missing), deadline, pause=0.0)
                there = {i: other for i, other in there.items() if _is_open(other)}
            for connection in there.values():
                with contextlib.suppress(OSError):
                    connection.sendall(_GO)

    def _receive(self, connection: socket.socket, size: int, seconds: float) -> bytes:
        """Returns `size` bytes; fewer if the other side ended or `seconds` have passed."""
        received, deadline = b'', time.monotonic() + seconds
        connection.settimeout(_POLL_SECONDS)
        while len(received) < size and time.monotonic() < deadline:
            shutdown.check('while it waited for other processes', 'nothing is written')
            with contextlib.suppress(TimeoutError):
                part = connection.recv(size - len(received))
                if not part:
                    break
                received += part
        return received

    def _wait(
        self, missing: Iterable[int], deadline: float, *, pause: float = _POLL_SECONDS
    ) -> None:
        shutdown.check('while it waited for other processes', 'nothing is written')
        if missing and time.monotonic() > deadline:
            names = ', '.join(f'{index} ({self.addresses[index]})' for index in missing)
            raise LostWorkerError(
                f'--distribution: process {names} did not start in time. See its message, and '
                'start all processes again.'
            )
        time.sleep(pause)


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b''
    except BlockingIOError:
        return True
    except OSError:
        return False


def find_processes(environ: Mapping[str, str] = os.environ) -> Processes | None:
    """Returns the processes that the environment names; None if there is one.

    TF_CONFIG is read first, and then the variables of a Slurm job step (`srun`).

    Raises:
        UsageError: the environment is invalid.
    """
    if text := environ.get('TF_CONFIG'):
        return _from_tf_config(text)
    if environ.get('SLURM_STEP_NUM_TASKS', '1') != '1' and 'SLURM_PROCID' in environ:
        return _from_slurm(environ)
    return None


def local_number(environ: Mapping[str, str] = os.environ) -> int | None:
    """Returns the position of this process on its machine; None if there is only one process.

    Unlike `find_processes` it accepts every order of a Slurm step's tasks.

    Raises:
        UsageError: TF_CONFIG is invalid.
    """
    if text := environ.get('TF_CONFIG'):
        processes = _from_tf_config(text)
        return processes.local_index if processes else None
    number = environ.get('SLURM_LOCALID', '')
    several = environ.get('SLURM_STEP_NUM_TASKS', '1') != '1'
    return int(number) if several and number.isdecimal() else None


def without_processes(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which `find_processes` finds one process."""
    names = ('TF_CONFIG', 'SLURM_STEP_NUM_TASKS')
    return {name: value for name, value in environ.items() if name not in names}


def _from_tf_config(text: str) -> Processes | None:
    try:
        config = json.loads(text)
        cluster, task = config.get('cluster', {}), config.get('task', {})
        if others := cluster.keys() - {'chief', 'worker'}:
            raise ValueError(f'tasks of type {min(others)} are not known')
        chiefs, workers = cluster.get('chief', []), cluster.get('worker', [])
        addresses = tuple(chiefs + workers)
        if not addresses:
            return None
        if not all(isinstance(a, str) and re.fullmatch(r'.+:\d+', a) for a in addresses):
            raise ValueError('an address is not HOST:PORT')
        if len(set(addresses)) < len(addresses):
            raise ValueError('an address is repeated')
        first = dict(chief=0, worker=len(chiefs))[task['type']]
        index, count = int(task['index']), len(cluster[task['type']])
        if not 0 <= index < count:
            raise ValueError(f'index {index} of {count} tasks of type {task["type"]}')
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else error
        raise UsageError(
            f'TF_CONFIG: {reason}. Set it to {{"cluster": {{"worker": ["HOST:PORT", ...]}}, '
            '"task": {"type": "worker", "index": NUMBER}}, or unset it.'
        ) from None
    return Processes(addresses, first + index) if len(addresses) > 1 else None


def _from_slurm(environ: Mapping[str, str]) -> Processes:
    try:
        hosts = _host_names(environ['SLURM_STEP_NODELIST'])
        tasks = _tasks_per_node(environ['SLURM_STEP_TASKS_PER_NODE'])
        rank, local = int(environ['SLURM_PROCID']), int(environ['SLURM_LOCALID'])
        job, step = int(environ['SLURM_JOB_ID']), int(environ['SLURM_STEP_ID'])
        if len(hosts) != len(tasks):
            raise ValueError(f'{len(hosts)} nodes, but {len(tasks)} numbers of tasks')
        places = [
            (host, n) for host, number in zip(hosts, tasks, strict=True) for n in range(number)
        ]
        if places[rank][1] != local or places[rank][0] != hosts[int(environ['SLURM_NODEID'])]:
            raise ValueError('tasks are not numbered node by node')
    except (ValueError, KeyError, IndexError, OSError, subprocess.SubprocessError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else error
        raise UsageError(
            f'Slurm: the processes of the step cannot be found ({reason}). Start them by srun '
            '--distribution=block, set TF_CONFIG, or use --distribution=none.'
        ) from None
    first = _FIRST_PORT + (job * 64 + step * 8) % _NUM_PORTS
    return Processes(tuple(f'{host}:{first + n}' for host, n in places), rank)


def _host_names(node_list: str) -> list[str]:
    """Returns the nodes of a list such as `gpu[1-2,7]`, in its order."""
    if re.fullmatch(r'[\w.,-]*', node_list):  # no brackets
        return node_list.split(',')
    command = ['scontrol', 'show', 'hostnames', node_list]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def _tasks_per_node(text: str) -> list[int]:
    """Returns the numbers in a text such as `2(x3),1`: 2, 2, 2, 1."""
    parts = [re.fullmatch(r'(\d+)(?:\(x(\d+)\))?', part) for part in text.split(',')]
    if not all(parts):
        raise ValueError(f'tasks per node are {text}')
    return [int(part[1]) for part in parts for _ in range(int(part[2] or 1))]
