"""The compare program: tables of the recorded scores of several runs, one for each protocol.

Importing this module does not import TensorFlow.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flexae_tf.checked_files import read_json
from flexae_tf.config import CompareConfig, TrainConfig
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.evaluation.score_log import as_samples
from flexae_tf.files import write_text
from flexae_tf.metrics.comparison import over_seeds
from flexae_tf.metrics.protocol import SUFFIXES

# Sets that are sampled from a density or from the prior of a method.
SAMPLED = ('samples', 'latents')
CSV_HEADS = (
    *('run', 'method', 'dataset', 'seed', 'step', 'density', 'sample_seed'),
    *('metric', 'value', 'sd', 'n', 'split', 'protocol'),
)

_CONFIG = {'config': {'*': object}, 'data?': object, 'examples?': object}

Record = dict[str, Any]  # a line of scores.jsonl
ColumnKey = tuple[str, str, str]  # protocol id, stem and suffix of comparable scores


class Parts(NamedTuple):
    """The parts that distinguish a score from others of its source; None where it has none.

    Attributes:
        images: path of images from files.
        checkpoint: digest of the checkpoint, or fingerprint of the images.
        seed: seed of the run.
        step: step of the checkpoint.
        density: fitted density; '' for the method's own prior.
        sample_seed: seed of the samples.
    """

    images: str | None
    checkpoint: str | None
    seed: int | None
    step: int | None
    density: str | None
    sample_seed: int | None


class Row(NamedTuple):
    """The scores of one model, in one table; a part that is None is unknown or has no meaning.

    Attributes:
        run: name of the run, or path of images from files.
        method: method of the run.
        seed: seed of the run.
        step: step of the checkpoint.
        density: fitted density; '' for the method's own prior.
        sample_seed: seed of the samples.
        options: all options of the run that change results, except its seed.
        scores: the scores by column.
    """

    run: str
    method: str | None
    seed: int | None
    step: int | None
    density: str | None
    sample_seed: int | None
    options: str | None
    scores: dict[ColumnKey, Record]


@dataclasses.dataclass
class Source:
    """A run, or a file of scores.

    Attributes:
        name: name that distinguishes it from the other sources.
        config: configuration of the run; empty if unknown.
        records: scores, the newest last.
    """

    name: str
    config: dict[str, Any]
    records: list[Record] = dataclasses.field(default_factory=list)


def compare(config: CompareConfig) -> None:
    """Prints a Markdown table of scores for each protocol, and writes `--output_file`.

    Runs without scores are left out with a warning. Scores whose protocol belongs to one
    checkpoint, like a critic's distance, are left out.

    Raises:
        MissingDataError: a path does not exist, or no run has scores.
        CorruptRunError: a configuration or a score is corrupt.
        UsageError: `--output_file` is not writable.
    """
    estimators, suffixes = _estimators(config.metrics), _suffixes(config.sets)
    tables: dict[str, list[Row]] = {}
    for source in _read_all(config.runs):
        found: dict[str, list[Record]] = {}
        for record in source.records:
            wanted = not estimators or record['fields'].get('estimator') in estimators
            if wanted and record['suffix'] in suffixes:
                found.setdefault(_caption(record), []).append(record)
        for caption, records in found.items():
            tables.setdefault(caption, []).extend(_rows(source, records))
    if not tables:
        raise MissingDataError(
            f'{", ".join(config.runs)}: no scores that can be compared. Choose other --metrics or '
            '--sets.'
        )
    text = '\n\n'.join(_markdown(caption, rows) for caption, rows in tables.items()) + '\n'
    print(text, end='')
    if config.output_file:
        path = pathlib.Path(config.output_file)
        try:
            write_text(path, _csv(tables.values()) if path.suffix == '.csv' else text)
        except OSError as error:
            raise UsageError(
                f'--output_file={path}: not writable ({error.strerror}). Use another file.'
            ) from None


def _read_all(paths: Sequence[str]) -> list[Source]:
    """Returns the sources that have scores; prints a warning for the others."""
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise MissingDataError(f'{", ".join(missing)}: no such file or folder. Check the paths.')
    absolute = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    found = [
        source
        for path in absolute
        for source in _read(pathlib.Path(path), _printable(os.path.relpath(path, common)))
    ]
    without = [source.name for source in found if not source.records]
    if len(without) == len(found):
        raise MissingDataError(
            f'{", ".join(without)}: no scores. Score the runs with bin/evaluate.py.'
        )
    if without:
        print(f'WARNING: {", ".join(without)}: no scores. Left out.', file=sys.stderr)
    return [source for source in found if source.records]


def _read(path: pathlib.Path, name: str) -> list[Source]:
    """Returns the scores of a workdir, or of a file; the file can hold several recorded runs."""
    config, file = {}, path
    if path.is_dir():
        file = path / 'scores.jsonl'
        with contextlib.suppress(FileNotFoundError):
            config = read_json(path / 'config.json', _CONFIG)['config']
    found = [Source(name, config)]
    for record in score_log.read(file):
        if 'run' in record:  # precedes the scores of a recorded run
            known = {name: record[name] for name in ('method', 'dataset', 'seed')}
            found.append(Source(record['run'], record['options'] | known))
        elif 'stem' in record and not _of_one_checkpoint(record):
            found[-1].records.append(_with_images(record))
    return found if len(found) == 1 or found[0].records else found[1:]


def _of_one_checkpoint(record: Record) -> bool:
    """Returns whether the protocol of a score belongs to one checkpoint."""
    checkpoint = record.get('checkpoint')
    return bool(checkpoint) and checkpoint in str(record['fields'].get('estimator'))


def _with_images(record: Record) -> Record:
    """Returns a record with the suffix of its set, and the path `images` of a score of files.

    Images from files are compared like samples of a run.
    """
    source = record.get('source') or record.get('checkpoint')
    return as_samples(record) | {
        'images': _printable(source) if record['set'] == 'fake' else None,
        'suffix': SUFFIXES[as_samples(record)['set']],
    }


def _estimators(metrics: str | None) -> list[str]:
    """Returns the estimators of `--metrics`; [] for all."""
    if not metrics:
        return []
    from flexae_tf.metrics import table  # takes time to import

    return [table.find(name).estimator for name in metrics.split(',')]


def _suffixes(sets: str) -> set[str]:
    """Returns the suffixes of the scores of `--sets`."""
    return {SUFFIXES[name] for name in sets.split(',')}


def _caption(record: Record) -> str:
    """Returns the caption of a score's table: all fields of its protocol except the estimator."""
    shown = {
        name: value
        for name, value in record['fields'].items()
        if value not in (None, False, 'none') and name != 'estimator'
    }
    return ', '.join(f'{name} {value}' for name, value in shown.items())


def _rows(source: Source, records: Iterable[Record]) -> list[Row]:
    """Returns the rows of a source in one table.

    A score that has no density or no sample seed, like a score of reconstructions, belongs to all
    rows of its step. A score of real examples belongs to all rows.
    """
    of_parts: dict[Parts, dict[ColumnKey, Record]] = {}
    for record in records:
        parts = _parts(record)
        if source.config:  # a step of a run has one checkpoint, the newest
            parts = parts._replace(checkpoint=None, seed=None)
        columns = of_parts.setdefault(parts, {})
        columns[record['protocol'], record['stem'], record['suffix']] = record  # the newest

    rows = []
    for row in of_parts:
        if any(row != other and _belongs(row, other) for other in of_parts):
            continue
        scores: dict[ColumnKey, Record] = {}
        for parts, columns in of_parts.items():
            scores |= columns if _belongs(parts, row) else {}
        name = row.images or source.name
        models = {parts.checkpoint for parts in of_parts if parts.images == row.images} - {None}
        if len(models) > 1:  # of several runs, or of changed images
            name += f' ({row.checkpoint[:8]})'
        rows.append(
            Row(
                name,
                source.config.get('method'),
                source.config.get('seed', row.seed),
                *(row.step, row.density, row.sample_seed),
                _options(source.config),
                scores,
            )
        )
    return sorted(rows, key=lambda row: (row.step or 0, row.density or '', row.sample_seed or 0))


def _belongs(parts: Parts, row: Parts) -> bool:
    """Returns whether scores with these parts belong to a row."""
    return all(a is None or a == b for a, b in zip(parts, row, strict=True))


def _parts(record: Record) -> Parts:
    """Returns the parts that distinguish a score from others of its run."""
    density = None
    if record['set'] in SAMPLED:
        density = re.sub(r'-[0-9a-f]{12}$', '', record.get('density') or '')
    checkpoint = record.get('checkpoint')
    step = record['step'] if checkpoint and not record['images'] else None
    images, seeds = record['images'], (record.get('seed'), record.get('sample_seed'))
    return Parts(images, checkpoint, seeds[0], step, density, seeds[1])


def _options(config: dict[str, Any]) -> str | None:
    """Returns what runs that differ only in their seed share; None if unknown."""
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    options = {
        name: value
        for name, value in config.items()
        if name != 'seed'
        and (
            name not in fields
            or (fields[name].metadata['identity'] and value != fields[name].default)
        )
    }
    return json.dumps(options, sort_keys=True) if options else None


def _markdown(caption: str, rows: Sequence[Row]) -> str:
    """Returns a table with its caption, and the protocol ids of its columns."""
    names = {key: score['metric'] for row in rows for key, score in row.scores.items()}
    stems = list(dict.fromkeys((protocol, stem) for protocol, stem, _ in names))
    order = list(SUFFIXES.values())
    columns = sorted(names, key=lambda key: (stems.index(key[:2]), order.index(key[2])))
    parts = ('run', 'method', 'seed', 'step', 'density', 'sample_seed')
    shown = [name for name in parts if any(getattr(row, name) for row in rows)]
    lines = [
        [_text(getattr(row, name)) for name in shown]
        + [_score_text(row.scores.get(key)) for key in columns]
        for row in rows
    ]
    for members in _repeated(rows):
        mean = members[0]._replace(run=f'mean of {len(members)}: {members[0].run}, ...', seed=None)
        lines.append([_text(getattr(mean, name)) for name in shown])
        for key in columns:
            values = [row.scores[key]['value'] for row in members if key in row.scores]
            average = over_seeds(values) if values else None
            number = f' ({len(values)})' if len(values) < len(members) else ''
            lines[-1].append(_number(average.mean, average.sd) + number if average else '')
    heads = [*(f'{name.replace("_", " ")}<' for name in shown), *(names[key] for key in columns)]
    table = markdown_table(heads, lines)
    of_protocol: dict[str, list[str]] = {}
    for protocol, stem in stems:
        of_protocol.setdefault(protocol, []).append(stem)
    ids = '; '.join(f'`{protocol}` {", ".join(of)}' for protocol, of in of_protocol.items())
    return f'**{caption}**\n\n{table}\n\nProtocols: {ids}.'


def _repeated(rows: Iterable[Row]) -> list[list[Row]]:
    """Returns the groups of rows that differ only in the seed of their run.

    A group with two rows of one seed is left out with a warning.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if row.options is not None and row.seed is not None:
            key = (row.options, row.step, row.density, row.sample_seed)
            groups.setdefault(key, []).append(row)
    found = []
    for group in groups.values():
        by_seed = {row.seed: row for row in reversed(group)}
        if len(by_seed) == len(group) > 1:
            found.append(group)
        for row in (row for row in group if by_seed[row.seed] is not row):
            names = f'{by_seed[row.seed].run}, {row.run}'
            print(f'WARNING: {names}: one configuration and seed. No mean.', file=sys.stderr)
    return found


def _score_text(score: Record | None) -> str:
    return _number(score['value'], score.get('sd')) if score else ''


def _number(value: float, sd: float | None) -> str:
    return f'{value:.4g}' + ('' if sd is None else f' ± {sd:.2g}')


def _printable(path: str) -> str:
    """Returns a path with escapes for bytes that are not UTF-8."""
    return os.fsencode(path).decode('utf-8', 'backslashreplace')


def _text(value: Any) -> str:
    return '' if value is None else str(value)


def _csv(tables: Iterable[Sequence[Row]]) -> str:
    """Returns one line for each score."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(CSV_HEADS)
    written = set()
    for row in (row for rows in tables for row in rows):
        for score in row.scores.values():
            key = row.run, row.seed, score['id']
            if key not in written:  # a score of real examples belongs to several rows
                written.add(key)
                known = row._asdict() | {'dataset': score['fields']['dataset']} | score
                own = _parts(score)
                known |= {'seed': row.seed, 'density': own.density, 'step': own.step}
                writer.writerow([known.get(name) for name in CSV_HEADS])
    return file.getvalue()
