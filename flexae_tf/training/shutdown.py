"""Graceful shutdown on SIGTERM and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

from flexae_tf.errors import Interrupted


class GracefulShutdown:
    """Context manager that records the first SIGTERM or SIGINT (Ctrl-C); the process continues.

    A second signal ends the process at once. Outside the main thread (a notebook's worker)
    Python delivers no signals and the context manager does nothing.

    Attributes:
        requested: number of the signal that was received; None if there was none.
    """

    requested: int | None = None

    def __enter__(self) -> GracefulShutdown:
        self._previous = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[number] = signal.signal(number, self._record)
            except ValueError:  # not in the main thread
                return self
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self, when: str, *saved: str) -> None:
        """Raises `Interrupted` if a signal was received.

        Args:
            when: the state of the program, such as 'after step 7'.
            saved: the state of its files, if not everything is saved.
        """
        if self.requested is not None:
            raise Interrupted(self.requested, when, *saved)

    def _record(self, number: int, _: Any) -> None:
        self.requested = number
        for handled in self._previous:
            signal.signal(handled, signal.SIG_DFL)


class SignalRelay(GracefulShutdown):
    """Context manager that relays SIGTERM and SIGINT to a process instead of dying."""

    _process: subprocess.Popen | None = None
    _relayed = False

    @contextlib.contextmanager
    def to(self, process: subprocess.Popen) -> Iterator[None]:
        """Relays signals to `process`, also one that came while it started."""
        self._process = process
        if self.requested is not None and not self._relayed:
            process.send_signal(self.requested)
        try:
            yield
        finally:
            self._process = None

    def _record(self, number: int, _: Any) -> None:
        self.requested = self.requested or number
        if self._process:
            self._relayed = True
            self._process.send_signal(number)
