"""What can go wrong that a user can mend, each with the exit code its program ends with.

A message is one line: the cause first, then the cure.
"""


class UserError(Exception):
    """DenseReshape of the errors that end a program with one line instead of a traceback."""

    exit_code = 1


class UsageError(UserError):
    """Flags, or a combination of them, that cannot be run."""

    exit_code = 2


class MissingDataError(UserError):
    """Data or network weights that are absent or unreadable."""

    exit_code = 3


class CorruptRunError(UserError):
    """A run's own files are damaged, or could not be written."""

    exit_code = 4


class NonFiniteLossError(UserError):
    """Training produced a loss that is not a finite number."""

    exit_code = 5


class FailedRunError(UserError):
    """A run of an experiment failed; the others were not stopped by it."""

    exit_code = 6


class Interrupted(UserError):
    """SIGTERM or Ctrl-C was heard.

    Args:
        number: of the signal; the exit code is 128 more: 143 for SIGTERM, 130 for Ctrl-C.
        when: where the program was.
        kept: what became of it: everything up to the last finished step is saved, most often.
    """

    def __init__(
        self, number: int, when: str, kept: str = 'all saved: the same command resumes'
    ) -> None:
        super().__init__(f'stopped by signal {number} {when}, {kept}')
        self.exit_code = 128 + number
