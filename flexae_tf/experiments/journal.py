"""What was executed of a run, and which scores came of it."""

import pathlib
import re
from typing import Any

from flexae_tf.config import EvaluateConfig
from flexae_tf.training.workdir import append_json, read_jsonl


class Journal:
    """One line for each command of a run that ended.

    `scores.jsonl` may hold scores that others asked for; the journal tells which are ours, and
    whether there is anything left to score, without the network whose checksum they carry.

    Args:
        path: of the JSON lines. Without this file, the run is scored anew.
        scores: the run's `scores.jsonl`.
    """

    def __init__(self, path: pathlib.Path, scores: pathlib.Path) -> None:
        self.path = path
        self._scores = scores

    def add_training(self, *, seconds: float, exit_code: int) -> None:
        """Notes that the training program ended.

        Args:
            seconds: how long it took.
            exit_code: how it ended; a negative number is a signal.
        """
        self._add('train', seconds, exit_code, {})

    def add_scoring(
        self,
        config: EvaluateConfig,
        checkpoint: str | None,
        *,
        seconds: float,
        exit_code: int,
        output: list[str],
    ) -> None:
        """Notes that the evaluation program ended.

        Args:
            config: of the evaluation.
            checkpoint: digest of the checkpoint that was scored.
            seconds: how long it took.
            exit_code: how it ended; a negative number is a signal.
            output: the lines it printed, which name the scores.
        """
        found = {'scoring': _key(config), 'checkpoint': checkpoint, 'scores': _named(output)}
        self._add('evaluate', seconds, exit_code, found if exit_code == 0 else {})

    def scores(self, config: EvaluateConfig, checkpoint: str | None) -> list[dict[str, Any]] | None:
        """The records of an evaluation; None when it is not done for this checkpoint."""
        done = [
            entry['scores']
            for entry in read_jsonl(self.path)
            if entry.get('scoring') == _key(config) and entry['checkpoint'] == checkpoint
        ]
        if not done:
            return None
        found = {
            (r['metric'], r['protocol']): r
            for r in read_jsonl(self._scores)
            if [r['metric'], r['protocol'], r['density'], r['step']] in done[-1]
            and _drawn_as(r, config)
        }
        return list(found.values()) if found and len(found) == len(done[-1]) else None

    def seconds(self) -> float:
        """How long the commands took so far, all together."""
        return round(sum(entry['seconds'] for entry in read_jsonl(self.path)), 1)

    def _add(self, program: str, seconds: float, exit_code: int, found: dict[str, Any]) -> None:
        entry = {'program': program, 'seconds': round(seconds, 1), 'exit_code': exit_code}
        append_json(self.path, entry | found)


def _key(config: EvaluateConfig) -> list[str | None]:
    """What tells an evaluation from another one of the same checkpoint."""
    return [config.identity_hash(), config.inception_path]


def _named(output: list[str]) -> list[list[str | int | None]]:
    """[name, protocol id, density, step] of each score that the evaluation program showed."""
    pattern = re.compile(
        r'(\S+) .*\((?:step (\d+), )?\w+ protocol ([0-9a-f]{8})(?: (\w+-[0-9a-f]{12}))?[);]'
    )
    matches = filter(None, map(pattern.match, output))
    return [[m.group(1), m.group(3), m.group(4), int(m.group(2) or 0)] for m in matches]


def _drawn_as(record: dict[str, Any], config: EvaluateConfig) -> bool:
    """Whether a score has the seed and number of samples that an evaluation asks for."""
    samples = record['kind'] in ('gen', 'codes')
    return (
        record['sample_seed'] == (config.sample_seed if samples else None)
        and record['repeats'] == (config.repeats if record['kind'] == 'gen' else 1)
        and record['bootstrap'] == (config.bootstrap if record['stem'] == 'fd' else 0)
    )
