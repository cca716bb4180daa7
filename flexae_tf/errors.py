"""User-facing errors and their exit codes.

A message is one line: `<flag or path>: <problem>. <action>.`
"""

import re


class UserError(Exception):
    """Base of the errors that end a program with one line instead of a traceback."""

    exit_code = 1


class UsageError(UserError):
    """Flags, or a combination of flags, that cannot be run."""

    exit_code = 2


class MissingDataError(UserError):
    """Data or network weights are missing or unreadable."""

    exit_code = 3


class CorruptRunError(UserError):
    """Files of a run are corrupt, or could not be written."""

    exit_code = 4


class NonFiniteLossError(UserError):
    """A loss in training is not finite."""

    exit_code = 5


class FailedRunError(UserError):
    """At least one run of an experiment failed; the other runs were continued."""

    exit_code = 6


class LostWorkerError(UserError):
    """Another process of a distributed training ended, or does not answer."""

    exit_code = 7


def first_line(error: Exception) -> str:
    """Returns the first line of a message, without TensorFlow's names of operations."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r'^\{\{.*?\}\} | \[Op:\w+\]$', '', line)


class Interrupted(BaseException):
    """A program was stopped by a signal. Like KeyboardInterrupt, it passes handlers of errors.

    Args:
        number: number of the signal. The exit code is 128 + number: 143 for SIGTERM, 130 for
            Ctrl-C (SIGINT).
        when: state of the program, as in 'at step 100'.
        saved: what was saved, and how to continue.
    """

    def __init__(
        self,
        number: int,
        when: str,
        saved: str = 'finished parts, if any, are saved: repeat the same command',
    ) -> None:
        super().__init__(f'stopped by signal {number} {when}, {saved}')
        self.exit_code = 128 + number
