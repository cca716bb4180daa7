"""Opening trained runs: a method restored from its workdir."""

import contextlib
import dataclasses
import os
from typing import Any, NamedTuple

import tensorflow as tf

from flexae_tf.config import ResolvedConfig, checkpoint_step
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.methods import build_method
from flexae_tf.methods.base import Method
from flexae_tf.training.checkpoints import Checkpoints, check_complete, check_names, steps_in
from flexae_tf.training.workdir import Workdir, recorded_source

# Options that networks depend on.
NETWORK_OPTIONS = (
    'method',
    'network',
    'width_multiplier',
    'latent_dim',
    'noise_dim',
    'generator_capacity',
    'divergence',
    'discriminator',
    'num_pseudo_inputs',
)


class Run(NamedTuple):
    """A trained method and its origin.

    Attributes:
        method: the method with restored weights.
        config: resolved configuration of its training.
        spec: description of its data.
        workdir: folder of the run.
        step: step of the checkpoint.
        digest: identifies the contents of the restored files.
        digests: digests of all files with the weights of this step. A checkpoint and a snapshot
            may both have them; only the snapshot stays.
        density: name of the fitted density that replaces the prior of the method; None if the
            prior is the method's own.
    """

    method: Method
    config: ResolvedConfig
    spec: DatasetSpec
    workdir: Workdir
    step: int
    digest: str
    digests: frozenset[str]
    density: str | None = None


def open_run(
    workdir: str | os.PathLike,
    checkpoint: str | int = 'last',
    *,
    strategy: tf.distribute.Strategy | None = None,
) -> Run:
    """Opens a trained run, ready to encode, decode and sample from the prior of its method.

    Args:
        workdir: folder of the run.
        checkpoint: as for `RunReader.open`.
        strategy: as for `RunReader`.

    Raises:
        MissingDataError: there is no run.
        UserError: as `RunReader.open`.
    """
    return RunReader(workdir, strategy).open(checkpoint)


class RunReader:
    """Opens the checkpoints of a run one after another, all in one method.

    So memory does not grow with the number of checkpoints, and functions are traced once.

    Args:
        workdir: folder of the run.
        strategy: devices that run `Method.traced`; None for one device.

    Attributes:
        workdir: the folder.

    Raises:
        MissingDataError: there is no run.
    """

    def __init__(
        self, workdir: str | os.PathLike, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        self.workdir = Workdir(workdir)
        self._config, self._spec = self.workdir.read()
        with (strategy or tf.distribute.get_strategy()).scope():
            self._method = build_method(self._config, self._spec)
        self._prior = self._method.prior
        self._stores = stores(self.workdir, self._config, self._method, initial_state(self._method))

    def open(self, checkpoint: str | int = 'last') -> Run:
        """Returns the run at a checkpoint; the method of an earlier `Run` has its weights too.

        Args:
            checkpoint: 'last' for the newest valid checkpoint, or the newest valid snapshot if
                there are no checkpoints; else the step of a checkpoint or snapshot.

        Raises:
            UsageError: `checkpoint` is neither 'last' nor a number.
            MissingDataError: there is no such checkpoint.
            CorruptRunError: the checkpoint is corrupt.
        """
        checkpoints, snapshots = self._stores
        step = checkpoint_step(checkpoint)
        if step is None:
            store = checkpoints if checkpoints.steps() else snapshots
            step = store.restore_latest(print)
            if step is None:
                raise _no_checkpoint(self.workdir)
        else:
            holders = [store for store in self._stores if step in store.steps()]
            if not holders:
                found = ', '.join(map(str, sorted({*checkpoints.steps(), *snapshots.steps()})))
                raise MissingDataError(
                    f'{self.workdir.checkpoints}: no checkpoint of step {step}. Choose one of '
                    f'{found or "none, train the run first"}.'
                )
            store = _restore_first(holders, step)
        self._method.prior = self._prior  # a density of another checkpoint may have replaced it
        digests = {store.restored, *(s.digest(step) for s in self._stores)} - {None}
        return Run(
            self._method,
            self._config,
            self._spec,
            self.workdir,
            step,
            store.restored,
            frozenset(digests),
        )


def pin_source(config: ResolvedConfig) -> ResolvedConfig:
    """Returns the configuration with step and digest of the checkpoint to start from.

    Raises:
        UserError: as `open_run`, for `init_from`.
    """
    config = recorded_source(config)
    if not config.init_from or '-' in (config.init_checkpoint or ''):
        return config
    source = open_run(config.init_from, config.init_checkpoint or 'last')
    return dataclasses.replace(config, init_checkpoint=f'{source.step}-{source.digest}')


def initialize(method: Method, config: ResolvedConfig) -> str:
    """Copies the weights of the pinned checkpoint, batch-norm averages included.

    Encoder and decoder must be equal in both runs. Every other network, or variable outside the
    networks, is copied if the other run has one of its name, and then must be equal too.

    Args:
        method: receives the weights; its optimizers do not change.
        config: its configuration, from `pin_source`.

    Returns:
        A message that names the copied parts and the others.

    Raises:
        UsageError: the networks differ; the message names a variable and the options that differ.
        UserError: as `open_run`; also if the checkpoint is not the pinned one any more.
    """
    step, _, digest = config.init_checkpoint.partition('-')
    source = open_run(config.init_from, step)
    flag = f'--init_from={config.init_from}'
    if digest not in source.digests:
        raise MissingDataError(
            f'{flag}: its checkpoint of step {step} is not {digest} any more. Start in another '
            '--workdir, without --init_checkpoint.'
        )
    ours, theirs = _parts(method), _parts(source.method)
    copied = [name for name in ours if name in theirs]
    for name in copied:
        for variable in {**theirs[name], **ours[name]}:
            there, here = (_shape(parts[name], variable) for parts in (theirs, ours))
            if there != here:
                raise UsageError(
                    f'{flag}: {name}/{variable} {there} there, {here} here'
                    f'{_differing_options(source.config, config)}. Use the same networks.'
                )
        for variable, value in theirs[name].items():
            ours[name][variable].assign(value.numpy())
    others = [name for name in ours if name not in theirs]
    random = f'; random: {", ".join(others)}' if others else ''
    return f'weights of {source.workdir.path}, step {step}: {", ".join(copied)}{random}'


def saved_steps(workdir: str | os.PathLike) -> list[int]:
    """Returns the steps of all checkpoints and snapshots, valid or not, in rising order.

    Raises:
        MissingDataError: there is no run, or no checkpoint.
    """
    folder = Workdir(workdir)
    folder.read()
    steps = steps_in(folder.checkpoints, 'ckpt', 'weights')
    if not steps:
        raise _no_checkpoint(folder)
    return steps


class State(NamedTuple):
    """Variables that a checkpoint holds besides the method."""

    step: tf.Variable  # finished iterations, int64
    totals: tf.Variable  # [tags + 1]: sums over the current log interval, and their number


def initial_state(method: Method) -> State:
    """Returns the state before the first iteration."""
    return State(
        step=tf.Variable(0, dtype=tf.int64, trainable=False, name='step'),
        totals=tf.Variable(tf.zeros([len(method.tags) + 1]), trainable=False, name='totals'),
    )


def stores(
    workdir: Workdir, config: ResolvedConfig, method: Method, state: State
) -> tuple[Checkpoints, Checkpoints]:
    """Returns the two kinds of checkpoints of a run.

    Returns:
        Rolling checkpoints of everything that training needs, and snapshots of the weights, which
        are all kept.

    Raises:
        RuntimeError: a variable of the method would not be saved, or two have the same name.
    """
    kinds = dict(folder=workdir.checkpoints, identity=config.identity_hash())
    everything = tf.train.Checkpoint(method=method, **state._asdict())
    weights = tf.train.Checkpoint(weights={v.path: v.value for v in method.weights})
    check_complete(everything, method.state)
    check_names(method.weights)
    return (
        Checkpoints(checkpoint=everything, name='ckpt', keep=config.keep_checkpoints, **kinds),
        Checkpoints(checkpoint=weights, name='weights', **kinds),
    )


def _restore_first(holders: list[Checkpoints], step: int) -> Checkpoints:
    """Restores `step` from the first store in which it is valid; returns that store."""
    *others, last = holders
    for store in others:
        with contextlib.suppress(CorruptRunError, MissingDataError):
            store.restore(step)
            return store
    last.restore(step)
    return last


def _no_checkpoint(folder: Workdir) -> MissingDataError:
    return MissingDataError(f'{folder.path}: holds no checkpoint yet. Train the run first.')


def _parts(method: Method) -> dict[str, dict[str, Any]]:
    """Returns the weights of a method by network and name; a weight of no network is by itself."""
    parts = {
        network.name: {v.path.removeprefix(f'{network.name}/'): v for v in network.weights}
        for network in method.layers
    }
    of_networks = {id(v) for part in parts.values() for v in part.values()}
    own = [v for v in method.weights if id(v) not in of_networks]
    return parts | {v.name: {v.name: v} for v in own}


def _shape(part: dict[str, Any], variable: str) -> str:
    return f'has shape {list(part[variable].shape)}' if variable in part else 'is missing'


def _differing_options(there: ResolvedConfig, here: ResolvedConfig) -> str:
    """Returns the options of networks that differ, for an error message; '' without any."""
    pairs = ((name, getattr(there, name), getattr(here, name)) for name in NETWORK_OPTIONS)
    texts = [f'--{name}={a} there, {b} here' for name, a, b in pairs if a != b]
    return f' ({"; ".join(texts)})' if texts else ''
