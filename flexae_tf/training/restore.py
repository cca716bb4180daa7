"""Trained runs: a method back out of its workdir."""

import contextlib
import os
import re
from typing import NamedTuple

import tensorflow as tf

from flexae_tf.config import TrainConfig, checkpoint_step
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import CorruptRunError, MissingDataError
from flexae_tf.methods import build_method
from flexae_tf.methods.base import Method
from flexae_tf.training.checkpoints import Checkpoints, check_complete, check_names
from flexae_tf.training.workdir import Workdir


class Run(NamedTuple):
    """A trained method and where it came from.

    Attributes:
        method: its weights restored.
        config: of its training.
        spec: of its data.
        workdir: where it is kept.
        step: of the checkpoint.
        digest: names the contents of the files it was restored from.
        digests: of all files that have the weights of this step: a checkpoint is removed one day
            and the snapshot stays.
        density: fitted ex post, in the place of the method's prior.
    """

    method: Method
    config: TrainConfig
    spec: DatasetSpec
    workdir: Workdir
    step: int
    digest: str
    digests: frozenset[str]
    density: str | None = None


def open_run(workdir: str | os.PathLike, checkpoint: str | int = 'last') -> Run:
    """The trained run in `workdir`, its method ready to encode, decode and sample from its prior.

    Args:
        workdir: the run's folder.
        checkpoint: 'last', the newest from which training would go on, or where there is none the
            newest snapshot; or the step of a checkpoint or of a weights-only snapshot.

    Raises:
        UsageError: `checkpoint` is neither 'last' nor a number.
        MissingDataError: no run, or no such checkpoint there, or none any more.
        CorruptRunError: the checkpoint is not whole.
    """
    folder = Workdir(workdir)
    config, spec = folder.read()
    method = build_method(config, spec)
    ckpt, weights = stores(folder, config, method, initial_state(method))
    step = checkpoint_step(checkpoint)
    if step is None:
        store = ckpt if ckpt.steps() else weights
        step = store.restore_latest(print)
        if step is None:
            raise MissingDataError(f'{folder.path} holds no checkpoint yet: train it first')
    else:
        holders = [store for store in (ckpt, weights) if step in store.steps()]
        if not holders:
            there = ', '.join(map(str, sorted({*ckpt.steps(), *weights.steps()}))) or 'none'
            raise MissingDataError(
                f'no checkpoint of step {step} in {folder.checkpoints}; there are: {there}'
            )
        store = _restore_first(holders, step)
    digest = store.digest(step)
    if digest is None:
        raise MissingDataError(f'the checkpoint of step {step} in {folder.path} was just removed')
    digests = {s.digest(step) for s in (ckpt, weights)} - {None}
    return Run(method, config, spec, folder, step, digest, frozenset(digests))


def saved_steps(workdir: str | os.PathLike) -> list[int]:
    """The steps of which the run in `workdir` has checkpoints, whole or not, in rising order.

    Raises:
        MissingDataError: no run, or no checkpoint there.
    """
    folder = Workdir(workdir)
    folder.read()
    names = (path.name for path in folder.checkpoints.glob('*'))
    matches = (re.match(r'(?:ckpt|weights)-(\d{9})\.', name) for name in names)
    steps = sorted({int(match.group(1)) for match in matches if match})
    if not steps:
        raise MissingDataError(f'{folder.path} holds no checkpoint yet: train it first')
    return steps


def _restore_first(holders: list[Checkpoints], step: int) -> Checkpoints:
    """Restores `step` from the first that has it whole, and returns that."""
    *others, last = holders
    for store in others:
        with contextlib.suppress(CorruptRunError, MissingDataError):
            store.restore(step)
            return store
    last.restore(step)
    return last


class State(NamedTuple):
    """What a checkpoint holds beside the method."""

    step: tf.Variable  # iterations done, int64
    totals: tf.Variable  # sums over the current log interval: [tags] and, last, how many


def initial_state(method: Method) -> State:
    """The state before the first iteration."""
    return State(
        step=tf.Variable(0, dtype=tf.int64, trainable=False, name='step'),
        totals=tf.Variable(tf.zeros([len(method.tags) + 1]), trainable=False, name='totals'),
    )


def stores(
    workdir: Workdir, config: TrainConfig, method: Method, state: State
) -> tuple[Checkpoints, Checkpoints]:
    """The two kinds of checkpoints of a run.

    Returns:
        everything that training needs (rolling), and the weights alone (kept for later choice).
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
