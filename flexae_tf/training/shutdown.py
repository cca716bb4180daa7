"""Being told to stop."""

import signal
from typing import Any

from flexae_tf.errors import Interrupted


class GracefulShutdown:
    """While active, the first SIGTERM or SIGINT (Ctrl-C) asks to stop; the next one ends at once.

    Attributes:
        heard: the number of the signal that asked, or None.
    """

    requested: int | None = None

    def __enter__(self) -> 'GracefulShutdown':
        self._previous = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[number] = signal.signal(number, self._hear)
            except ValueError:  # not in the main thread (a notebook's worker): nobody to listen for
                return self
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self, when: str) -> None:
        """Raises `Interrupted` if a signal was received.

        Args:
            when: description of this point of the program: 'between batches'.
        """
        if self.requested is not None:
            raise Interrupted(self.requested, when)

    def _hear(self, number: int, _: Any) -> None:
        self.requested = number
        for stop in self._previous:
            signal.signal(stop, signal.SIG_DFL)
