"""What was executed of a run, and the scores it was executed for."""

import hashlib
import os
import pathlib
from typing import Any

from flexae_tf.config import EvaluateConfig
from flexae_tf.files import append_jsonl, read_jsonl


class Journal:
    """A folder with a line for each command of a run that ended, and a file for each scoring.

    `scores.jsonl` of a run may hold scores that others asked for. What the evaluation program tells
    of ours is ours, and whether it is there shows, without the network whose checksum the scores
    carry, whether there is anything left to score.

    Args:
        path: the folder. Without it, the run is scored anew.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._commands = path / 'commands.jsonl'

    def unfinished(self, config: EvaluateConfig) -> pathlib.Path:
        """The file that an evaluation tells its scores to while it runs."""
        return self.path / f'{_key(config)}.part'

    def begin(self, config: EvaluateConfig) -> None:
        """Makes room for the scores of an evaluation."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.unfinished(config).unlink(missing_ok=True)

    def add(self, program: str, *, seconds: float, exit_code: int) -> None:
        """Notes that a command ended.

        Args:
            program: its name.
            seconds: how long it took.
            exit_code: how it ended; a negative number is a signal.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        entry = {'program': program, 'seconds': round(seconds, 1), 'exit_code': exit_code}
        append_jsonl(self._commands, entry)

    def finish(self, config: EvaluateConfig, checkpoint: str) -> None:
        """Takes the scores of an evaluation that ended well, if it told any.

        Args:
            config: of the evaluation.
            checkpoint: digest of the checkpoint that was scored.
        """
        if self.unfinished(config).exists():
            os.replace(self.unfinished(config), self._finished(config, checkpoint))

    def scores(self, config: EvaluateConfig, checkpoint: str) -> list[dict[str, Any]] | None:
        """The records of an evaluation; None when it is not done for this checkpoint."""
        path = self._finished(config, checkpoint)
        return read_jsonl(path) if path.exists() else None

    def seconds(self) -> float:
        """How long the commands took so far, all together."""
        return round(sum(entry['seconds'] for entry in read_jsonl(self._commands)), 1)

    def scorings(self) -> list[float]:
        """How long each evaluation took that ended well, in seconds."""
        entries = read_jsonl(self._commands)
        return [e['seconds'] for e in entries if (e['program'], e['exit_code']) == ('evaluate', 0)]

    def _finished(self, config: EvaluateConfig, checkpoint: str) -> pathlib.Path:
        return self.path / f'{_key(config)}-{checkpoint}.jsonl'


def _key(config: EvaluateConfig) -> str:
    """What tells an evaluation from another one of the same checkpoint."""
    text = f'{config.identity_hash()} {config.inception_path}'
    return hashlib.sha256(text.encode()).hexdigest()[:12]
