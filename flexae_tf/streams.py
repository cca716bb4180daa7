"""Standard streams that do not end a program: closed, full, or in an encoding with few characters.

A training runs for days; the reader of its messages may be gone long before (`| head`, a terminal
that was closed, a full disk under a log file of a scheduler).
"""

import contextlib
import errno
import io
import os
import select
import sys


def make_robust() -> None:
    """Makes standard output and error accept every text, whatever happens to their readers.

    Descriptors that are closed become /dev/null, because the next file that is opened would get
    their number, and the messages of TensorFlow. Streams that were replaced, as in a notebook,
    stay as they are.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number is used
    for name, descriptor in (('stdout', 1), ('stderr', 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f'__{name}__'):
            setattr(sys, name, _robust(stream, descriptor))


def _robust(stream: io.TextIOWrapper | None, descriptor: int) -> io.TextIOWrapper:
    """Returns a stream like `stream`, which is None if its descriptor was closed."""
    if stream:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_RobustFile(descriptor, 'w', closefd=False)),
        encoding=stream.encoding if stream else 'utf-8',
        errors='backslashreplace',
        line_buffering=True,  # a signal may end a program at any time
    )


class _RobustFile(io.FileIO):
    """A file that drops what cannot be written, and says so once on standard error."""

    _failed = False

    def write(self, data: memoryview) -> int:
        """Writes `data`, and waits for the reader of a pipe that does not block."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
            return written
        except OSError as error:
            if not self._failed and error.errno != errno.EPIPE:
                with contextlib.suppress(OSError):
                    os.write(2, b'WARNING: standard output cannot be written; text is lost.\n')
            self._failed = True
            return len(data)
