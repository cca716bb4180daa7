"""Graceful shutdown: one request to stop for the whole process, which every long loop polls.

A program enters `GracefulShutdown(leave=NAME)` from its first moment. A thread receives its
signals, because Python runs signal handlers only between two operations of the main thread, and an
operation of TensorFlow may take minutes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from flexae_tf.errors import Interrupted

SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
PATIENCE = 5.0  # seconds after the first signal in which a program may end by itself
# Signals within so many seconds have one cause: `timeout`, terminals and schedulers send them to a
# process and to its group.
REPETITION = 0.25

error_output = 2  # descriptor for the last line of a program: standard error without a filter

_active: GracefulShutdown | None = None
_unfinished = threading.RLock()  # held by work that a signal must let finish
_depth = 0  # how many times it is held
_leaving = threading.Lock()  # acquired once, by the thread that ends the process
_children: list[subprocess.Popen] = []
_temporary: list[str] = []  # folders to remove when the process ends


def requested() -> int | None:
    """Returns the number of the first signal; None if there was none."""
    return _active.number if _active else None


def check(when: str = 'between batches', *saved: str) -> None:
    """Raises `Interrupted` after a signal, except in work that is `deferred`.

    Args:
        when: the state of the program, such as 'after step 7'.
        saved: the state of its files, if not everything is saved.
    """
    if _active:
        _active.polled = True
    if (number := requested()) and not _depth:
        raise Interrupted(number, when, *saved)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Context of work that the first signal must let finish, however long it takes."""
    global _depth
    with _unfinished:
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1


@contextlib.contextmanager
def by_kernel(seconds: int) -> Iterator[None]:
    """Context of a call that holds Python's lock: any signal ends the process at once.

    SIGALRM does so after `seconds`.
    """
    handlers = {
        number: signal.signal(number, signal.SIG_DFL)
        for number in SIGNALS
        if signal.getsignal(number) != signal.SIG_IGN
    }
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Context of a child, another program of the package, that receives the signals of this one.

    The first signal lets the child finish. Signals that come before its `GracefulShutdown` wait.

    Args:
        command: as for `subprocess.Popen`.
        options: as for `subprocess.Popen`.
    """
    with deferred():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process = subprocess.Popen(command, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _children.append(process)
        try:
            if number := requested():
                process.send_signal(number)
            with process:
                yield process
        finally:
            _children.remove(process)


def remove_at_exit(folder: str) -> None:
    """Removes a temporary folder when the process ends, also by `leave`."""
    if not _temporary:
        atexit.register(_remove_temporary)
    _temporary.append(folder)


def _remove_temporary() -> None:
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)


def leave(program: str, error: Interrupted) -> NoReturn:
    """Ends the process at once with the line of `error`; safe like SIGKILL for every file."""
    _leaving.acquire()
    poll = select.poll()
    poll.register(error_output, select.POLLOUT)
    if poll.poll(1000):  # a full pipe that is not read would keep the process
        with contextlib.suppress(OSError):
            os.write(error_output, f'{program}: error: {error}\n'.encode())
    _remove_temporary()
    os._exit(error.exit_code)


def ignore_signals() -> None:
    """Ignores signals from now on: Python would show the traceback of a Ctrl-C while it ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class GracefulShutdown:
    """Context manager that records the first signal of `SIGNALS`; the process continues.

    A context within another one joins it. Outside the main thread (a notebook's worker) Python
    delivers no signals and the context manager does nothing.

    Args:
        leave: name of the program, which leaves by the second signal, or by the first one if it
            has only started, or if it has not ended after `PATIENCE` and no work is `deferred`.
            None for use as a library: only a second Ctrl-C raises KeyboardInterrupt.

    Attributes:
        number: number of the first signal; None if there was none.
        polled: whether the program has called `check`; before, it has only started.
    """

    def __init__(self, leave: str | None = None) -> None:
        self.number: int | None = None
        self.polled = False
        self._program = leave
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> GracefulShutdown:
        global _active
        if _active or threading.current_thread() is not threading.main_thread():
            return self
        _active = self
        if self._program:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._previous[number] = signal.signal(number, self._handle)
        if self._program:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked here, or at the start
        return self

    def __exit__(self, *_: Any) -> None:
        global _active
        if _active is not self:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._program:
            signal.set_wakeup_fd(-1)
            os.write(self._write, b'\0')
            self._thread.join()
            os.close(self._read)
            os.close(self._write)
        _active = None

    def _handle(self, number: int, _: Any) -> None:
        """Receives a signal in the main thread; in a program, the thread receives it."""
        if self._program:
            return
        repeated = self.number is not None
        self._record(number)
        if repeated and number == signal.SIGINT:
            raise KeyboardInterrupt

    def _record(self, number: int) -> None:
        self.number = self.number or number
        for child in _children:
            child.send_signal(number)

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        started = deadline = 0.0
        while True:
            left = max(0.0, deadline - time.monotonic())
            if poll.poll(1000.0 * left if self.number else None):
                number = os.read(self._read, 1)[0]
                if not number:
                    return
                now = time.monotonic()
                if not self.number:
                    started, deadline = now, now + (PATIENCE if self.polled else 0.0)
                    self._record(number)
                elif now > started + REPETITION and number != signal.SIGXCPU:
                    self._record(number)  # the kernel repeats SIGXCPU every second
                    self._leave()
            elif _unfinished.acquire(blocking=False):
                self._leave()
            else:
                deadline = time.monotonic() + PATIENCE

    def _leave(self) -> NoReturn:
        leave(self._program, Interrupted(self.number, 'while it ran'))
