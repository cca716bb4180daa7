"""Scores as JSON lines. Importing this module does not import TensorFlow."""

import functools
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flexae_tf.checked_files import append_jsonl, read_jsonl
from flexae_tf.config import EvaluateConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import CorruptRunError, UsageError
from flexae_tf.evaluation import archives, network_files
from flexae_tf.files import lock, stat_digest, write_text
from flexae_tf.metrics.protocol import SUFFIXES, Protocol

DEFAULT_NETWORK = 'default'

_NUMBER = int | float
# Lines: a score, the end of a completed request, and the start of a run in a file of many runs.
_SCORE = {
    **dict.fromkeys(('metric', 'stem', 'set', 'protocol', 'protocol_name', 'id'), str),
    **dict.fromkeys(('step', 'repeats'), int),
    'value': _NUMBER,
    'selection': str | None,
    'fields': {'*': object},
    **dict.fromkeys(('checkpoint?', 'density?', 'source?'), str | None),
    **dict.fromkeys(('seed?', 'sample_seed?'), int | None),
    **dict.fromkeys(('sd?', 'estimator_sd?', 'bootstrap_sd?'), _NUMBER | None),
    'parts?': int,
    '*': object,
}
_END = {
    'complete': str,
    'scores': [str],
    'checkpoint': str | None,
    'step': int,
    'network?': str,
    'seconds?': _NUMBER,
}
_RUN = {
    **dict.fromkeys(('run', 'method', 'dataset', 'machine'), str),
    **dict.fromkeys(('latent_dim', 'seed'), int),
    'options': {'*': object},
    'checkpoint': str | None,
    'environment': {'*': str},
    'seconds': _NUMBER | None,
    'density_seconds': {'*': _NUMBER | None},
}


def score_id(identity: dict[str, Any], stem: str) -> str:
    """Returns sixteen hexadecimal digits that identify a score among all scores of a run.

    Args:
        identity: everything that the score depends on except its stem: set, protocol, step,
            checkpoint, seeds, repeats.
        stem: stem of the score's name.
    """
    text = json.dumps({**identity, 'stem': stem}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of a file of scores; [] if it is missing.

    Raises:
        CorruptRunError: the file is unreadable, or a line is corrupt or no score of its protocol.
    """
    records = read_jsonl(path, _schema)
    for number, record in enumerate(records, 1):
        if 'stem' in record and not _has_its_protocol(record):
            raise CorruptRunError(
                f'{path}:{number}: no score of protocol {record["protocol"]}. Remove that line.'
            )
    return records


def _schema(line: dict[str, Any]) -> dict[str, Any]:
    if 'complete' in line:
        return _END
    if 'run' in line:
        return _RUN
    return _SCORE if 'stem' in line else {'*': object}  # lines of early versions are ignored


def _has_its_protocol(record: dict[str, Any]) -> bool:
    """Returns whether the set of a score is known and its fields make its protocol."""
    try:
        protocol = Protocol(**record['fields'])
    except (TypeError, ValueError):  # other fields, or values that contradict each other
        return False
    return protocol.id == record['protocol'] and as_samples(record)['set'] in SUFFIXES


def completed(
    path: str | os.PathLike,
    request: str,
    checkpoint: str | None = None,
    network: str | None = None,
) -> list[dict[str, Any]] | None:
    """Returns the records of a completed evaluation; None if there is none.

    Args:
        path: `scores.jsonl` of a run.
        request: `EvaluateConfig.identity_hash()` of the evaluation, which does not include paths
            of feature networks.
        checkpoint: digest of the checkpoint that must have been scored; None accepts any.
        network: `requested_network` that must have been used; None accepts any.
    """
    return completed_in(read(pathlib.Path(path)), request, checkpoint, network)


def completed_in(
    records: Sequence[dict[str, Any]],
    request: str,
    checkpoint: str | None = None,
    network: str | None = None,
) -> list[dict[str, Any]] | None:
    """Returns the records of a completed evaluation among lines of scores.jsonl, or None."""
    by_id = {record['id']: record for record in records if 'id' in record}
    ends = [
        end
        for end in records
        if end.get('complete') == request
        and checkpoint in (None, end['checkpoint'])
        and (network is None or network in _networks(end, by_id))
    ]
    if not ends or not all(id_ in by_id for id_ in ends[-1]['scores']):
        return None
    return [by_id[id_] for id_ in ends[-1]['scores']]


def requested_network(config: EvaluateConfig) -> str:
    """Returns twelve digits of the content of the network that options name, or 'default'.

    It is 'default' without a path.

    Raises:
        MissingDataError: there is no network at the path.
    """
    flag = 'feature_network' if config.feature_network else 'inception_path'
    path = getattr(config, flag)
    if not path:
        return DEFAULT_NETWORK
    cache = pathlib.Path(config.cache_dir) if config.cache_dir else archives.default_cache()
    return _checksum(path, f'--{flag}', cache, stat_digest(pathlib.Path(path), flag=f'--{flag}'))


@functools.cache
def _checksum(path: str, flag: str, cache: pathlib.Path, state: str) -> str:
    """Reads a network once until its files change; many evaluations may name it."""
    del state
    if flag == '--feature_network':
        return network_files.from_declaration(path, cache)[1].checksum
    return network_files.from_path(path, cache).checksum


def _networks(end: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> set[str]:
    """Returns the networks that a closing line stands for."""
    if 'network' in end:
        return {end['network']}
    # Lines of raw values and older lines do not name a network.
    fields = [by_id.get(id_, {}).get('fields', {}) for id_ in end['scores']]
    return {DEFAULT_NETWORK, *(f['network'] for f in fields if f.get('network'))}


def read_runs(path: pathlib.Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Returns (line about the run, lines of its scores.jsonl) by name, of a file of several runs.

    A line with the key `run` precedes the lines of each run.
    """
    found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for line in read(path):
        if 'run' in line:
            _, lines = found[line['run']] = (line, [])
        else:
            lines.append(line)
    return found


def write_runs(
    path: pathlib.Path, runs: Mapping[str, tuple[dict[str, Any], Sequence[dict[str, Any]]]]
) -> None:
    """Writes what `read_runs` reads, in the order of the names."""
    lines = [line for _, (info, of_run) in sorted(runs.items()) for line in (info, *of_run)]
    write_text(path, ''.join(json.dumps(line) + '\n' for line in lines))


def as_samples(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a score of images from files as a score of samples; other scores are unchanged."""
    if record['set'] != 'fake':
        return record
    metric = re.sub(r'_fake(?=_unverified|$)', '_gen', record['metric'])
    return record | {'set': 'samples', 'metric': metric}


def check_comparable(records: Sequence[dict[str, Any]]) -> None:
    """Raises `UsageError` if scores of several workdirs have different protocols."""
    ids = sorted({record['protocol'] for record in records})
    if len(ids) > 1:
        fields = [record['fields'] for record in records]
        names = dict.fromkeys(name for of_score in fields for name in of_score)
        differing = [name for name in names if len({str(f.get(name)) for f in fields}) > 1]
        raise UsageError(
            f'protocols {" and ".join(ids)} differ in {", ".join(differing)}. Remove scores.jsonl '
            'from the workdirs and repeat.'
        )


class ScoreLog:
    """Writes scores as JSON lines and prints them; finds recorded scores.

    Args:
        path: file of the JSON lines; None writes no file.
        request: hash of the evaluation request, recorded with each score.
        also_write_to: file that receives every requested score, recorded scores included; None
            for no file.

    Raises:
        UsageError: a file cannot be written or is not a file of scores.
        CorruptRunError: a line is corrupt.
    """

    def __init__(
        self,
        path: pathlib.Path | None,
        *,
        request: str,
        also_write_to: pathlib.Path | None = None,
    ) -> None:
        self._path = path
        self._request = request
        self._also_write_to = also_write_to
        self._records = _read(path)
        _read(also_write_to)
        self._code = code_version()
        self._shown: dict[str, None] = {}  # ids of the requested scores, in order

    def find(self, identity: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the records of one metric with this identity; empty unless all are recorded."""
        found = {
            r['stem']: r
            for r in self._records
            if 'stem' in r and all(k in r and r[k] == v for k, v in identity.items())
        }
        parts = {record.get('parts') for record in found.values()}
        return list(found.values()) if parts == {len(found)} else []

    def show_recorded(
        self, identity: dict[str, Any], name: Callable[[str, str], str]
    ) -> dict[str, float]:
        """Prints the recorded scores of one metric; returns their values by stem.

        Scores with another name are ignored, so that they are recorded again: since then the
        network was identified, or an earlier version identified it wrongly.

        Args:
            identity: identity of the scores.
            name: maps a set and a stem to the name of the score.
        """
        found = self.find(identity)
        if any(record['metric'] != name(record['set'], record['stem']) for record in found):
            return {}
        for record in found:
            self.show(record, note='; recorded before')
        return {record['stem']: record['value'] for record in found}

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Writes and prints the scores of one metric.

        Scores that another process recorded meanwhile are printed instead.

        Raises:
            UsageError: the file cannot be written.
        """
        for record in records:
            record |= {'parts': len(records), 'request': self._request, 'code': self._code}
        self._records = _append(self._path, records) if self._path else self._records + [*records]
        recorded = {_key(record): record for record in self._records}
        for record in records:
            self.show(recorded[_key(record)])

    def show(self, record: dict[str, Any], *, note: str = '') -> None:
        """Prints a requested score with its standard deviations and appends it to the file."""
        self._shown[record['id']] = None
        if self._also_write_to:
            _append(self._also_write_to, [record])
        spreads = [
            f'{record[name]:.2g} {label}'
            for name, label in (
                ('sd', f'over {record["repeats"]} repeats'),
                ('estimator_sd', "of the estimator's parts"),
                ('bootstrap_sd', 'by bootstrap'),
            )
            if record[name] is not None
        ]
        sd = f' +- {", ".join(spreads)}' if spreads else ''
        where = f'step {record["step"]}, ' if record['step'] else ''
        density = f' {record["density"]}' if record['density'] else ''
        print(
            f'{record["metric"]} {record["value"]:.5g}{sd}  '
            f'({where}{record["protocol_name"]} protocol {record["protocol"]}{density}{note})',
            flush=True,
        )

    def complete(
        self, *, step: int, checkpoint: str | None, network: str | None, seconds: float
    ) -> None:
        """Writes the line that closes a request, unless the same line exists.

        Args:
            step: step of the newest scored checkpoint.
            checkpoint: digest of that checkpoint.
            network: `requested_network`; None without a network.
            seconds: duration of the evaluation.
        """
        end = {
            'complete': self._request,
            'scores': list(self._shown),
            'checkpoint': checkpoint,
            'step': step,
            **({'network': network} if network else {}),
        }
        if self._path:
            _append(self._path, [{**end, 'seconds': round(seconds, 1)}])


def _read(path: pathlib.Path | None) -> list[dict[str, Any]]:
    """Returns the records of a file after a check that it can be written."""
    if path and path.exists() and not path.is_file():
        raise UsageError(f'{path}: not a file of scores. Choose another file.')
    records = read(path) if path else []
    if path and not path.parent.exists():
        raise UsageError(f'{path}: no such folder. Make it, or choose another file.')
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(
            f'{path}: cannot be written. Make it writable, choose another file, or score a copy of '
            'the run (its config.json and checkpoints/).'
        )
    return records


def _append(path: pathlib.Path, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Appends the records that a file does not have; returns its records.

    Evaluations of one run may write at the same time, so the file is read again under its lock.
    """
    try:
        with open(path, 'ab') as file:
            lock(file, wait=True)
            found = read_jsonl(path)
            known = {_key(record) for record in found}
            for record in records:
                if _key(record) not in known:
                    append_jsonl(path, record)
                    found.append(record)
    except OSError as error:
        raise UsageError(
            f'{path}: cannot be written ({error.strerror}). Free disk space or choose another path.'
        ) from None
    return found


def _key(record: dict[str, Any]) -> tuple:
    """Returns the identity of a line: equal lines differ only in how they were computed."""
    if 'id' in record:
        return record['id'], record['metric'], record.get('parts')
    return (json.dumps(record | {'seconds': None}, sort_keys=True),)
