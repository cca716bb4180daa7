"""Runs of an experiment: a training and its scorings, as command lines, and how far they are.

Nothing here needs TensorFlow: what a run is stands in its flags, how far it is in its workdir.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flexae_tf
from flexae_tf import data
from flexae_tf.config import EvaluateConfig, ReproduceConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.errors import MissingDataError, UsageError, UserError
from flexae_tf.experiments.journal import Journal
from flexae_tf.networks.architectures import resolve
from flexae_tf.training.workdir import Workdir

ROOT = pathlib.Path(flexae_tf.__file__).resolve().parents[1]  # of a clone: flags/ and bin/ are here


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
        return _options(ROOT, self)


@functools.cache  # of many plans, each of hundreds of commands
def _options(root: pathlib.Path, command: Command) -> Any:
    options = TrainConfig if command.program == 'train' else EvaluateConfig
    with contextlib.chdir(root):  # flagfiles are named from there, by other flagfiles too
        return from_arguments(options, command.flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and its scorings.

    Attributes:
        name: tells it from every other run; its workdir is OUTPUT_DIR/runs/NAME.
        output: folder of the experiments, absolute.
        train: flags of the training program, without `--workdir`.
        scorings: for each, flags of the evaluation program, without `--workdir`; of the last
            checkpoint where there is no `--checkpoint` among them.

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
        return Journal(self.workdir.path / 'reproduce')

    @property
    def training(self) -> Command:
        """The command that trains."""
        return Command('train', (*self.train, f'--workdir={self.workdir.path}'))

    def scoring(self, flags: tuple[str, ...]) -> Command:
        """The command of one of `scorings`."""
        if not any(flag.startswith('--checkpoint=') for flag in flags):
            flags = (f'--checkpoint={self.config.training_steps}', *flags)
        command = Command('evaluate', (f'--workdir={self.workdir.path}', *flags))
        told = self.journal.unfinished(command.options())
        return command._replace(flags=(*command.flags, f'--output_file={told}'))

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
        return [self.training, *scorings] if scorings or not self.digest else []

    def scores(self, flags: tuple[str, ...]) -> list[dict[str, Any]] | None:
        """The records of one of `scorings`; None when it is not done for the last checkpoint."""
        digest = self.digest
        return self.journal.scores(self.scoring(flags).options(), digest) if digest else None

    def begin(self, command: Command) -> None:
        """Gets ready for a command of this run."""
        if command.program == 'evaluate':
            self.journal.begin(command.options())

    def end(self, command: Command, *, seconds: float, exit_code: int) -> None:
        """Notes that a command of this run ended; arguments as in `Journal.add`."""
        self.journal.add(command.program, seconds=seconds, exit_code=exit_code)
        if command.program == 'evaluate' and exit_code == 0:
            self.journal.finish(command.options(), self.digest)

    def state(self) -> str:
        """How far the run is, in words."""
        try:
            self.check()
        except UserError as error:
            return str(error)
        if not self.missing():
            return 'finished'
        if self.digest:
            return 'trained, to be scored'
        step = self.step()
        return f'at step {step} of {self.config.training_steps}' if step else 'not begun'

    def step(self) -> int:
        """That of the newest checkpoint; 0 before there is one."""
        names = (path.name for path in self.workdir.checkpoints.glob('ckpt-*.manifest.json'))
        return max((int(re.sub(r'\D', '', name)) for name in names), default=0)

    @property
    def digest(self) -> str | None:
        """What names the last checkpoint's contents in scores.

        None before it is written, and where the workdir holds another run.
        """
        path = self.workdir.checkpoints / f'ckpt-{self.config.training_steps:09d}.manifest.json'
        try:
            self.check()
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except (UserError, OSError):
            return None


def check_places(config: ReproduceConfig, runs: Iterable[Run], folder: pathlib.Path) -> None:
    """Raises at once what would else be known after hours of training; makes `folder`.

    Raises:
        MissingDataError: `--data_dir` or `--inception_path` leads nowhere.
        UsageError: the folder cannot be made, or data sets that cannot be trained on.
    """
    for run in {run.config.dataset: run for run in runs}.values():
        data.describe(run.config)
    for name in ('data_dir', 'inception_path'):
        path = getattr(config, name)
        if path and not pathlib.Path(path).exists():
            raise MissingDataError(f'--{name}={path}: there is nothing; check the path')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f'--output_dir={config.output_dir} cannot be written ({error.strerror}): give another folder'
        ) from None


def show(runs: Sequence[Run], notes: Mapping[str, Sequence[str]]) -> None:
    """Prints the runs, their commands, how far they are, and notes on them, by name."""
    print(f'{len(runs)} runs; their commands, to be given in {ROOT}:')
    for run in runs:
        print('\n' + '; '.join([f'{run.name}: {run.state()}', *notes.get(run.name, [])]))
        for command in run.commands():
            print(f'  {command}')
