"""The folder of a run: its configuration, its logs, and the lock that keeps others out."""

import dataclasses
import datetime
import json
import os
import pathlib
from typing import Any

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.config.options import to_flagfile
from flexae_tf.data import Dataset, DatasetSpec, fingerprint
from flexae_tf.environment import environment
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.files import lock, write_json, write_text
from flexae_tf.methods import config_class, resolve


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
            CorruptRunError: `config.json` cannot be understood.
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
            config, spec = document['config'], DatasetSpec(**data)
            return {
                'config': resolve(config_class(config['method'])(**config), spec),
                'data': spec,
                'examples': document['examples'],
            }
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UsageError(
                f'{self._config_path} cannot be read ({error.strerror}): give another --workdir'
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRunError(
                f'{self._config_path} is damaged ({error}): restore it, or use another --workdir'
            ) from None

    def log(self, message: str) -> None:
        """One line on standard output and, with the time, in log.txt."""
        print(message, flush=True)
        if self.path.is_dir():
            now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M:%S')
            with open(self.path / 'log.txt', 'a') as file:
                file.write(f'{now} {message}\n')


def _rounded(x: np.ndarray) -> np.ndarray:
    """Vectors are computed, the same to the last bit on one kind of processor only."""
    return x if x.dtype == np.uint8 else np.round(x, 4) + 0.0  # no negative zeros
