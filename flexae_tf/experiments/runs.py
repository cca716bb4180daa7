"""Runs of an experiment: a training and its scorings, as command lines, and how far they are.

Nothing here needs TensorFlow: what a run is stands in its flags, how far it is in its workdir.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flexae_tf
from flexae_tf import data
from flexae_tf.config import EvaluateConfig, ReproduceConfig, TrainConfig
from flexae_tf.errors import UsageError, UserError
from flexae_tf.experiments.journal import Journal
from flexae_tf.networks.tables import resolve
from flexae_tf.options import from_arguments
from flexae_tf.training.workdir import Workdir

ROOT = pathlib.Path(flexae_tf.__file__).resolve().parents[1]  # of a clone: flags/ and bin/ are here
PATHS = ('data_dir', 'inception_path', 'cache_dir')


class Scale(NamedTuple):
    """How large the runs of an experiment are.

    Attributes:
        train: training options that differ from the flagfiles.
        num_examples: on each side of a score, at most.
    """

    train: dict[str, float]
    num_examples: int


SCALES = {
    'paper': Scale({}, 10_000),
    # For two CPU cores. An eighth of the channels is 1/60 of the work; vectors have no channels.
    'small': Scale({'width_multiplier': 0.125, 'training_steps': 3000}, 5_000),
}


class Command(NamedTuple):
    """A command line of one of our programs, to be run in `ROOT`."""

    program: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(['python', f'bin/{self.program}.py', *self.flags])

    def argv(self) -> list[str]:
        """The same for this very Python."""
        return [sys.executable, f'bin/{self.program}.py', *self.flags]

    def options(self) -> Any:
        """The flags as the program reads them; raises `UsageError` where it would."""
        options = TrainConfig if self.program == 'train' else EvaluateConfig
        with contextlib.chdir(ROOT):  # flagfiles are named from there, by other flagfiles too
            return from_arguments(options, self.flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and the scorings of its last checkpoint.

    Attributes:
        name: tells it from every other run; its workdir is OUTPUT/runs/NAME.
        output: folder of the experiments, absolute.
        train: flags of the training program, without `--workdir`.
        scorings: for each, flags of the evaluation program, without `--workdir`, `--checkpoint`.

    Raises:
        UsageError: flags that one of the programs would refuse.
    """

    name: str
    output: pathlib.Path
    train: tuple[str, ...]
    scorings: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        for command in self.commands():
            command.options()

    @functools.cached_property
    def config(self) -> TrainConfig:
        """What is trained; sizes that the data set decides are left open."""
        return self.training.options()

    @property
    def workdir(self) -> Workdir:
        """Where the run is kept."""
        return Workdir(self.output / 'runs' / self.name)

    @property
    def journal(self) -> Journal:
        """What was executed of the run."""
        return Journal(self.workdir.path / 'reproduce.jsonl', self.workdir.scores)

    @property
    def training(self) -> Command:
        """The command that trains."""
        return Command('train', (*self.train, f'--workdir={self.workdir.path}'))

    def scoring(self, flags: tuple[str, ...]) -> Command:
        """The command of one of `scorings`."""
        checkpoint = f'--checkpoint={self.config.training_steps}'
        return Command('evaluate', (f'--workdir={self.workdir.path}', checkpoint, *flags))

    def commands(self) -> list[Command]:
        """All of them."""
        return [self.training, *map(self.scoring, self.scorings)]

    def check(self) -> None:
        """Raises `UserError` when the workdir holds another run than this one."""
        self.workdir.check(resolve(self.config, data.describe(self.config).shape))

    def missing(self) -> list[Command]:
        """The commands still to be executed.

        Before a scoring the training is, done or not: it makes sure that its last checkpoint is
        whole, and trains it again when it is not.
        """
        scorings = [self.scoring(flags) for flags in self.scorings if self.scores(flags) is None]
        return [self.training, *scorings] if scorings or not self._digest() else []

    def scores(self, flags: tuple[str, ...]) -> list[dict[str, Any]] | None:
        """The records of one of `scorings`; None when it is not done for the last checkpoint."""
        digest = self._digest()
        return self.journal.scores(self.scoring(flags).options(), digest) if digest else None

    def note(self, command: Command, *, seconds: float, exit_code: int, output: list[str]) -> None:
        """Notes in the journal that a command of this run ended; arguments as there."""
        ended = dict(seconds=seconds, exit_code=exit_code)
        if command.program == 'train':
            self.journal.add_training(**ended)
        else:
            self.journal.add_scoring(command.options(), self._digest(), output=output, **ended)

    def state(self) -> str:
        """How far the run is, in words."""
        try:
            self.check()
        except UserError as error:
            return str(error)
        if not self.missing():
            return 'finished'
        if self._digest():
            return 'trained, to be scored'
        names = (path.name for path in self.workdir.checkpoints.glob('ckpt-*.manifest.json'))
        last = max((int(re.sub(r'\D', '', name)) for name in names), default=None)
        return f'at step {last} of {self.config.training_steps}' if last else 'not begun'

    def _digest(self) -> str | None:
        """What names the last checkpoint's contents in scores; None before it is written."""
        path = self.workdir.checkpoints / f'ckpt-{self.config.training_steps:09d}.manifest.json'
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except OSError:
            return None


def method_run(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    options: Mapping[str, float] | None = None,
    scorings: Sequence[tuple[str, ...]] = (),
) -> Run:
    """The run of a method on a data set as their flagfiles have it, but for the scale.

    Args:
        config: scale, seed and places.
        method: one of `config.METHODS`.
        dataset: one of `config.DATASETS`.
        options: training options that differ from the flagfiles.
        scorings: as in `Run`.

    Raises:
        UsageError: no flagfile, or wrong flags.
    """
    changed = {'training_steps': config.training_steps} if config.training_steps else {}
    changed |= options or {}
    shown = [f'{name}={_text(value)}' for name, value in (changed | {'seed': config.seed}).items()]
    options = SCALES[config.scale].train | changed | {'seed': config.seed}
    return Run(
        name='-'.join([method, dataset, config.scale, *shown]),
        output=pathlib.Path(os.path.abspath(config.output)),
        train=(
            f'--flagfile={method_flagfile(method, dataset)}',
            f'--flagfile={_flagfile("datasets", dataset)}',
            *(f'--{name}={_text(value)}' for name, value in options.items()),
            *_given(config, 'data_dir', 'download', 'device'),
        ),
        scorings=tuple(scorings),
    )


def scoring_flags(
    config: ReproduceConfig, *, split: str, kinds: str, metrics: str
) -> tuple[str, ...]:
    """Flags of the evaluation program for one of `Run.scorings`."""
    num_examples = config.num_examples or SCALES[config.scale].num_examples
    return (
        f'--split={split}',
        f'--kinds={kinds}',
        f'--metrics={metrics}',
        f'--num_examples={num_examples}',
        *_given(config, 'features', 'feature_layer', *PATHS, 'device'),
    )


def method_flagfile(method: str, dataset: str) -> str:
    """The flagfile of a method: that for the data set, where its numbers differ, or the common one.

    Raises:
        UsageError: there is neither.
    """
    with contextlib.suppress(UsageError):
        return _flagfile('methods', f'{method}_{dataset}')
    return _flagfile('methods', method)


def show(runs: Sequence[Run]) -> None:
    """Prints the runs, their commands, and how far they are."""
    print(f'{len(runs)} runs; their commands, to be given in {ROOT}:')
    for run in runs:
        print(f'\n{run.name}: {run.state()}')
        for command in run.commands():
            print(f'  {command}')


def _flagfile(kind: str, name: str) -> str:
    if not (ROOT / 'flags').is_dir():
        raise UsageError(
            f'there is no flags/ beside the package in {ROOT}: it comes with a clone alone; run '
            'bin/reproduce.py of a clone'
        )
    path = f'flags/{kind}/{name}.flags'
    if not (ROOT / path).is_file():
        raise UsageError(f'{path} is missing in {ROOT}: write it, or choose what has one')
    return path


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f'{value:.6g}'


def _given(config: ReproduceConfig, *names: str) -> tuple[str, ...]:
    """Flags of the options that are not at their default; commands do not run where we do."""
    given = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in names and value != field.default:
            value = os.path.abspath(value) if field.name in PATHS else value
            given.append(f'--{field.name}={value}')
    return tuple(given)
