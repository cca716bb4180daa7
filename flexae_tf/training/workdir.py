"""The folder of a run: its configuration, its logs, and the lock that keeps others out."""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import pathlib
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from typing import IO, Any

import numpy as np

import flexae_tf
from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, fingerprint
from flexae_tf.errors import DamagedStateError, MissingDataError, UsageError
from flexae_tf.options import to_flagfile


class Workdir:
    """Paths and text files of one run; TensorFlow is not needed here.

    Args:
        path: the folder; nothing is made or written before `open`.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self.checkpoints = self.path / 'checkpoints'
        self.samples = self.path / 'samples'
        self.tensorboard = self.path / 'tb'
        self.stats = self.path / 'stats.jsonl'
        self.perf = self.path / 'perf.jsonl'
        self.scores = self.path / 'scores.jsonl'
        self._lock = None

    def open(self, config: TrainConfig, dataset: Dataset) -> None:
        """Makes the folder a run of `config`, or makes sure that it already is one.

        Args:
            config: the resolved configuration.
            dataset: what the run trains on; a resumed run must find the same training examples.

        Raises:
            UsageError: the folder cannot be written, holds a run of another configuration (the
                message names the flags that differ) or data, or another process trains in it.
        """
        self.check(config)
        examples = self.check_examples(dataset)
        document = {
            'config': dataclasses.asdict(config),
            'data': dataclasses.asdict(dataset.spec),
            'examples': examples,
        }
        try:
            for folder in (self.path, self.checkpoints, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / '.lock', 'w')  # noqa: SIM115 (held while training)
            lock(self._lock)
            write_json(self._config_path, document)
            write_text(self.path / 'flags.txt', to_flagfile(config))
        except BlockingIOError:
            raise UsageError(
                f'another process trains in {self.path}: wait for it, or give another --workdir'
            ) from None
        except OSError as error:
            raise UsageError(
                f'{self.path} cannot be written ({error.strerror}): give another --workdir'
            ) from None

    def note_environment(self, device: str) -> None:
        """Keeps, for whoever asks later, what trains the run from now on."""
        write_json(self.path / 'environment.json', environment() | {'device': device})

    def close(self) -> None:
        """Lets other processes train here."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def check(self, config: TrainConfig) -> None:
        """Raises `UsageError` when the folder holds a run of another configuration."""
        document = self._document()
        if document is None:
            return
        found, wanted = document['config'].identity(), config.identity()
        differing = [
            f'--{name}={found[name]} there, {wanted[name]} now'
            for name in wanted
            if found[name] != wanted[name]
        ]
        if differing:
            raise UsageError(
                f'{self.path} holds a run of another configuration ({"; ".join(differing)}): '
                'give the same flags, or another --workdir'
            )

    def read(self) -> tuple[TrainConfig, DatasetSpec]:
        """The configuration of the run, and what it was trained on.

        Raises:
            MissingDataError: the folder is not a run.
            DamagedStateError: `config.json` cannot be understood.
        """
        document = self._document()
        if document is None:
            raise MissingDataError(f'{self.path} holds no run (no config.json): check the path')
        return document['config'], document['data']

    def check_examples(self, dataset: Dataset) -> str:
        """The fingerprint of the training examples.

        Raises:
            UsageError: the run here was trained on other ones.
        """
        x = dataset.train.x
        examples = fingerprint(_rounded(x))
        document = self._document()
        known = document['examples'] if document else examples
        # One hash of what may be gigabytes; of vectors that were not rounded yet, another.
        if known != examples and known != fingerprint(x):
            raise UsageError(
                f'{self.path} holds a run on other training data than are loaded now: '
                'give the same --data_dir, or another --workdir'
            )
        return examples

    @property
    def _config_path(self) -> pathlib.Path:
        return self.path / 'config.json'

    def _document(self) -> dict[str, Any] | None:
        """What `config.json` says; None when there is none."""
        try:
            document = json.loads(self._config_path.read_text())
            data = document['data']
            for name in ('shape', 'value_range', 'attributes'):
                data[name] = tuple(data[name])
            return {
                'config': TrainConfig(**document['config']),
                'data': DatasetSpec(**data),
                'examples': document['examples'],
            }
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UsageError(
                f'{self._config_path} cannot be read ({error.strerror}): give another --workdir'
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedStateError(
                f'{self._config_path} is damaged ({error}): restore it, or use another --workdir'
            ) from None

    def log(self, message: str) -> None:
        """One line on standard output and, with the time, in log.txt."""
        print(message, flush=True)
        if self.path.is_dir():
            now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M:%S')
            with open(self.path / 'log.txt', 'a') as file:
                file.write(f'{now} {message}\n')


def lock(file: IO) -> None:
    """Locks an open file until it is closed, also by the processes that inherit it.

    Some file systems of clusters have no locks: that is said, and goes on without.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(
            f'WARNING: {file.name} cannot be locked ({error.strerror}): see to it that no other '
            'process works in this folder',
            flush=True,
        )


def _rounded(x: np.ndarray) -> np.ndarray:
    """Vectors are computed, the same to the last bit on one kind of processor only."""
    return x if x.dtype == np.uint8 else np.round(x, 4) + 0.0  # no negative zeros


def append_json(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Appends one record as a line of its own, also after a line that was torn by a kill."""
    with open(path, 'a+b') as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b'\n':
            file.write(b'\n')
        file.write(json.dumps(record).encode() + b'\n')


def read_jsonl(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a file, none when there is no file; torn lines are left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def cut_back(path: pathlib.Path, step: int) -> None:
    """Drops the records after `step`, which the resumed run writes again."""
    if path.exists():
        kept = [r for r in read_jsonl(path) if r['step'] <= step]
        write_text(path, ''.join(json.dumps(r) + '\n' for r in kept))


def write_json(path: pathlib.Path, document: Any) -> None:
    """Writes a document so that readers see all of it or the old one."""
    write_text(path, json.dumps(document, indent=2) + '\n')


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text so that readers see all of it or the old one."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file so that readers see all of it or the old one."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file to write, of the same suffix, that takes the place of `path` when it is whole.

    Whoever else writes `path` has another one; an error leaves nothing.
    """
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """What the program runs on and from which code."""
    packages = (
        *('tensorflow', 'keras', 'numpy', 'scipy', 'scikit-learn'),
        *('tensorflow-datasets', 'tensorflow-gan'),
    )
    return {
        'code': code_version(),
        'python': platform.python_version(),
        'platform': platform.platform(),
        'cpus': os.cpu_count(),
        'packages': {name: _version(name) for name in packages},
        'command': sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def code_version() -> str:
    """The package's version, with the commit when it runs from a clone."""
    root = pathlib.Path(__file__).resolve().parents[2]
    try:
        described = subprocess.run(
            ['git', 'describe', '--always', '--dirty'],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return flexae_tf.__version__
    # A copy installed inside somebody else's clone must not report that clone's commit.
    ours = described.returncode == 0 and (root / '.git').exists()
    commit = f'+{described.stdout.strip()}' if ours else ''
    return flexae_tf.__version__ + commit
