"""The folder of a run: its configuration, its text files and its lock. Needs no TensorFlow."""

import dataclasses
import datetime
import errno
import hashlib
import os
import pathlib
import re
import statistics
from typing import IO, Any

import numpy as np

from flexae_tf import data
from flexae_tf.checked_files import SCALARS, read_json, read_jsonl, write_json
from flexae_tf.config import ResolvedConfig, TrainConfig, renamed
from flexae_tf.config.options import json_schema, to_flagfile
from flexae_tf.data import Dataset, DatasetSpec, fingerprint
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.environment import environment
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError, UserError
from flexae_tf.files import local_path, lock, write_text
from flexae_tf.methods import config_class, resolve

_NUMBER, _SIZE = int | float, int | None
_SPEC = {
    'name': str,
    'kind': str,
    'shape': [int],
    'train_size': _SIZE,
    'test_size': _SIZE,
    'value_range': [_NUMBER],
    'num_classes?': _SIZE,
    'attributes': [str],
    'validation_size?': _SIZE,
}
_ENVIRONMENT = {
    'code': str,
    'python': str,
    'platform?': str,
    'cpus?': _SIZE,
    'packages': {'*': str | None},
    'command?': [str],
    'device': str | None,
}
_DIMENSIONS = {'images': 3, 'vectors': 1}


def check_request(config: TrainConfig) -> tuple[ResolvedConfig, DatasetSpec]:
    """Checks a requested training before TensorFlow is imported, which takes seconds.

    Returns:
        The resolved configuration, and the description of its data.

    Raises:
        UsageError: `--workdir` is missing or holds a run of another configuration; or the
            options do not fit the data set, the run `--init_from` or each other.
        MissingDataError: the user's own images are not at `--data_dir`, or there is no run
            `--init_from`.
    """
    if not config.workdir and not config.dry_run:
        raise UsageError('--workdir: needed. Name the folder of the run.')
    spec = data.describe(config)
    config = recorded_source(resolve(config, spec))
    if config.init_from:
        _check_source(config, spec)
    if config.workdir:
        Workdir(config.workdir).check(config)
    return config, spec


def recorded_source(config: ResolvedConfig) -> ResolvedConfig:
    """Returns the configuration with the checkpoint of `init_from` that its workdir recorded.

    A run that was started has its own weights, so it does not need the other run any more. Without
    a recorded checkpoint of `init_from` the configuration comes back unchanged.
    """
    if not config.init_from or not config.workdir:
        return config
    recorded = Workdir(config.workdir).config()
    if not recorded or not recorded.init_checkpoint:
        return config
    step, _, _ = recorded.init_checkpoint.partition('-')
    same = os.path.abspath(config.init_from) == os.path.abspath(recorded.init_from)
    given = config.init_checkpoint or step
    if not same or not given.isdecimal() or int(given) != int(step):
        return config
    return dataclasses.replace(config, init_checkpoint=recorded.init_checkpoint)


def is_started(config: ResolvedConfig) -> bool:
    """Returns whether the workdir has a checkpoint of training, valid or not."""
    return bool(config.workdir) and any(
        Workdir(config.workdir).checkpoints.glob('ckpt-*.manifest.json')
    )


def _check_source(config: ResolvedConfig, spec: DatasetSpec) -> None:
    """Checks `init_from`, except its networks; a started run does not need it any more.

    Raises:
        UsageError: it is the workdir, or its examples have another shape.
        MissingDataError: it is not a run.
        CorruptRunError: its `config.json` is corrupt.
    """
    if config.workdir and os.path.realpath(config.workdir) == os.path.realpath(config.init_from):
        raise UsageError(
            f'--init_from={config.init_from}: is the --workdir. Use another --workdir, or leave '
            '--init_from out to continue that run.'
        )
    if is_started(config):
        return
    _, found = Workdir(config.init_from).read()
    if (found.kind, found.shape) != (spec.kind, spec.shape):
        raise UsageError(
            f'--init_from={config.init_from}: trained on {found.kind} of shape '
            f'{list(found.shape)}, not {spec.kind} of shape {list(spec.shape)}. Use data of the '
            'same shape.'
        )


class Workdir:
    """Paths and text files of one run.

    Args:
        path: the folder; nothing is created or written before `open`.

    Raises:
        UsageError: the path is empty or a URL.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(local_path('workdir', path))
        self.checkpoints = self.path / 'checkpoints'
        self.samples = self.path / 'samples'
        self.tensorboard = self.path / 'tb'
        self.stats = self.path / 'stats.jsonl'
        self.perf = self.path / 'perf.jsonl'
        self.scores = self.path / 'scores.jsonl'
        self.non_finite = self.path / 'nonfinite.json'
        self._lock: IO | None = None
        self._folder: int | None = None  # held, so that no other folder gets its number

    def open(self, config: ResolvedConfig, dataset: Dataset) -> None:
        """Locks the folder until `close` and writes `config.json` and `flags.txt`.

        Args:
            config: the resolved configuration.
            dataset: data of the training; a resumed run needs the same training examples.

        Raises:
            UsageError: the folder is not writable, holds a run of another configuration (the
                message names the flags that differ) or of other data, or is in use by another
                process.
            CorruptRunError: `config.json` is corrupt.
        """
        self.check(config)
        examples = self.check_examples(dataset)
        document = {
            'config': config.to_json(),
            'data': dataclasses.asdict(dataset.spec),
            'examples': examples,
        }
        try:
            for folder in (self.path, self.checkpoints, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._folder = os.open(self.path, os.O_RDONLY)
            self.check(config)  # again: another process may have started a run meanwhile
            write_json(self._config_path, document)
            flags = to_flagfile(config, skip=('workdir',))
            write_text(self.path / 'flags.txt', f'--workdir=$FLAGFILE_DIR\n{flags}')
        except OSError as error:
            self.close()
            raise UsageError(
                f'{error.filename or self.path}: cannot be written ({error.strerror}). Free disk '
                'space, make it writable, or use another --workdir.'
            ) from None
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        """Releases the lock."""
        if self._lock:
            self._lock.close()
        if self._folder is not None:
            os.close(self._folder)
        self._lock = self._folder = None

    def is_in_place(self) -> bool:
        """Returns whether the path still names the folder that was opened."""
        try:
            return os.path.samestat(os.fstat(self._folder), os.stat(self.path))
        except OSError:
            return False

    def check_place(self) -> None:
        """Checks, while it is open, that the folder is still there; makes removed parts again.

        Raises:
            FileNotFoundError: it was moved or removed. Without this check, the rest of the run
                would be written into a new folder, or into another run.
            UsageError: its lock was removed, and another process took it.
            OSError: a part cannot be made.
        """
        if not self._lock:
            return
        if not self.is_in_place():
            raise FileNotFoundError(errno.ENOENT, 'moved or removed', str(self.path))
        if not self._holds_lock():
            self._lock.close()
            self._take_lock()
            self.log(f'WARNING: {self.path}/.lock: was removed; created again')
        for folder in (self.checkpoints, self.samples):
            if not folder.is_dir():
                folder.mkdir()
                self.log(f'WARNING: {folder}: was removed with its files; created again')

    def _take_lock(self) -> None:
        self._lock = open(self.path / '.lock', 'w')  # noqa: SIM115 (held while training)
        try:
            lock(self._lock)
        except BlockingIOError:
            self.close()
            raise UsageError(
                f'{self.path}: another process trains in it. Wait until it ends, or use another '
                '--workdir.'
            ) from None

    def _holds_lock(self) -> bool:
        """Returns whether other processes meet the lock; not if its file was removed."""
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / '.lock'))
        except FileNotFoundError:
            return False

    def write_environment(self, device: str) -> None:
        """Writes `environment.json`: versions, command and `device`."""
        write_json(self.path / 'environment.json', environment() | {'device': device})

    def read_environment(self) -> tuple[str, dict[str, str]]:
        """Returns device, and versions by name, of the training; 'unknown' and {} if unknown.

        Raises:
            CorruptRunError: `environment.json` is corrupt.
        """
        try:
            noted = read_json(self.path / 'environment.json', _ENVIRONMENT)
        except (FileNotFoundError, NotADirectoryError):
            return 'unknown', {}
        packages = {name: version for name, version in noted['packages'].items() if version}
        versions = {'code': noted['code'], 'Python': noted['python'], **packages}
        return noted['device'] or 'unknown', versions

    def read_pace(self) -> tuple[float, int] | None:
        """Returns median iterations per second and last step; None if nothing was recorded.

        Raises:
            CorruptRunError: `perf.jsonl` is corrupt.
        """
        lines = read_jsonl(self.perf, SCALARS)
        paces = [line['perf/steps_per_sec'] for line in lines if 'perf/steps_per_sec' in line]
        return (statistics.median(paces), lines[-1]['step']) if paces else None

    def newest_step(self) -> int:
        """Returns the step of the newest checkpoint; 0 if there is none."""
        names = (path.name for path in self.checkpoints.glob('ckpt-*'))
        matches = (re.fullmatch(r'ckpt-(\d{9})\.manifest\.json', name) for name in names)
        return max((int(match.group(1)) for match in matches if match), default=0)

    def digest(self, step: int) -> str | None:
        """Returns the digest of the checkpoint of a step; None before it is written."""
        try:
            manifest = (self.checkpoints / f'ckpt-{step:09d}.manifest.json').read_bytes()
        except OSError:
            return None
        return hashlib.sha256(manifest).hexdigest()[:12]

    def log(self, message: str) -> None:
        """Prints one line and appends it, with the time (UTC), to `log.txt`."""
        print(message, flush=True)
        self.check_place()
        if self.path.is_dir():
            now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M:%S')
            with open(
                self.path / 'log.txt', 'a', encoding='utf-8', errors='backslashreplace'
            ) as file:
                file.write(f'{now} {message}\n')

    def read(self) -> tuple[ResolvedConfig, DatasetSpec]:
        """Returns the resolved configuration of the run and the description of its data.

        Raises:
            MissingDataError: the folder is not a run.
            CorruptRunError: `config.json` is corrupt.
        """
        document = self._document()
        if document is None:
            raise MissingDataError(f'{self.path}: holds no run (no config.json). Check the path.')
        return document['config'], document['data']

    def config(self) -> ResolvedConfig | None:
        """Returns the resolved configuration of the run; None if the folder is not a run.

        Raises:
            CorruptRunError: `config.json` is corrupt.
        """
        document = self._document()
        return document and document['config']

    def check(self, config: ResolvedConfig) -> None:
        """Raises `UsageError` if the folder holds a run of another configuration."""
        document = self._document()
        if document is None:
            return
        found, requested = document['config'].identity(), config.identity()
        differing = [
            f'--{name}={found[name]} there, {requested[name]} now'
            for name in requested
            if name in found and found[name] != requested[name]  # another method has other options
        ]
        if differing:
            raise UsageError(
                f'{self.path}: holds a run of another configuration ({"; ".join(differing)}). '
                'Use the same flags, or another --workdir.'
            )

    def check_examples(self, dataset: Dataset) -> str:
        """Returns the fingerprint of the training examples.

        Raises:
            UsageError: the run in this folder was trained on other examples.
        """
        x = dataset.train.x
        examples = examples_fingerprint(x)
        document = self._document()
        known = document['examples'] if document else examples
        # Older runs recorded the fingerprint of vectors that were not rounded.
        if known != examples and known != fingerprint(x):
            raise UsageError(
                f'{self.path}: holds a run on other training data than are loaded now. Use the '
                'same --data_dir, or another --workdir.'
            )
        return examples

    @property
    def _config_path(self) -> pathlib.Path:
        return self.path / 'config.json'

    def _document(self) -> dict[str, Any] | None:
        """Returns the contents of `config.json`; None if the file does not exist."""
        path, cure = self._config_path, 'Restore the file, or use another --workdir'
        schema = {'config': _options_schema, 'data': _SPEC, 'examples': str}
        try:
            document = read_json(path, schema, cure=cure)
        except (FileNotFoundError, NotADirectoryError):
            return None
        # A run that was moved or copied has another workdir now.
        config = renamed.update_config(document['config']) | {'workdir': str(self.path)}
        found = document['data']
        for name in ('shape', 'value_range', 'attributes'):
            found[name] = tuple(found[name])
        spec = DatasetSpec(**found)
        if (
            len(spec.shape) != _DIMENSIONS.get(spec.kind)
            or min(spec.shape) < 1
            or len(spec.value_range) != 2
        ):
            raise CorruptRunError(f'{path}: describes data of an impossible shape. {cure}.')
        try:
            resolved = resolve(config_class(config['method'])(**config), spec)
        except UserError as error:
            raise type(error)(f'{path}: {error}') from None
        return {'config': resolved, 'data': spec, 'examples': document['examples']}


def _options_schema(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of the options in `config.json`, which depends on the method."""
    method = config.get('method')
    return json_schema(config_class(method)) if isinstance(method, str) else {'method': str}


def examples_fingerprint(x: np.ndarray | StoredRows) -> str:
    """Returns the fingerprint of examples that is equal on all machines."""
    # The last bits of vectors depend on the processor that computed them.
    return fingerprint(x if x.dtype == np.uint8 else np.round(x, 4) + 0.0)  # no negative zeros
