"""Densities that are methods themselves, trained on codes by the one trainer."""

import dataclasses
import math
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from flexae_tf.config import CODES, TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.errors import Interrupted, UsageError, UserError
from flexae_tf.files import atomic_path
from flexae_tf.methods import Method, build_method
from flexae_tf.methods.posterior_samples import draw_codes, posteriors
from flexae_tf.methods.second_stage import SecondStage, TwoStages
from flexae_tf.networks.architectures import architecture_name
from flexae_tf.priors import Prior
from flexae_tf.training.restore import Run
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir

# Of the second stage, with batches of 512 (Dai and Wipf 2019 train it twice as long as the first).
EPOCHS = 400


def fit(
    name: str, run: Run, dataset: Dataset, folder: pathlib.Path, steps: int | None
) -> dict[str, np.ndarray]:
    """Trains the stage `name` in `folder`, and gives its weights by name.

    The second stage is trained on posteriors, the latent GAN on codes. Killed, it resumes. It has
    one device, whatever there is: several have nothing to share of such small networks.

    Args:
        name: of `config.STAGES`.
        run: whose codes.
        dataset: the run's own.
        folder: becomes a run's workdir.
        steps: iterations; when None, 400 epochs of the second stage, and of the latent GAN as many
            as the run had.

    Raises:
        UsageError: a training of other steps was begun in the folder.
        Interrupted: SIGTERM or Ctrl-C was heard.
        UserError: as a training.
    """
    train, held_out = map(Split, _codes(name, run, dataset, folder))
    spec = DatasetSpec(
        CODES,
        'vectors',
        train.x.shape[1:],
        len(train),
        len(held_out),
        (float(train.x.min()), float(train.x.max())),
    )
    config = dataclasses.replace(
        _config(name, run), workdir=str(folder), batch_size=_batch_size(name, run, len(train))
    )
    default = (
        math.ceil(EPOCHS * len(train) / config.batch_size)
        if name == 'second_stage'
        else run.config.training_steps
    )
    config = dataclasses.replace(config, training_steps=steps or default)
    if (folder / 'config.json').exists():
        begun = Workdir(folder).read()[0].training_steps
        if begun != config.training_steps:
            raise UsageError(
                f'{folder} holds a training of {begun} steps that was begun, not of '
                f'{config.training_steps}: give --density_steps={begun}, or remove that folder'
            )
    # Held-out codes in the place of test codes, which no training is to see.
    trainer = Trainer(
        config, Dataset(spec, train, held_out, held_out), strategy=tf.distribute.get_strategy()
    )
    try:
        trainer.train()
    except Interrupted:
        raise
    except UserError as error:
        raise type(error)(f'training {name} in {folder}: {error}') from None
    return {v.path: v.numpy() for v in trainer.method.weights}


def _codes(name: str, run: Run, dataset: Dataset, folder: pathlib.Path) -> list[np.ndarray]:
    """Codes of training and of held-out examples: computed once, and kept in the folder.

    Another device, or the same GPU on another day, does not compute the very same ones, and a
    training that was begun goes on with nothing else. What is there of another checkpoint goes.
    """
    path, names = folder / 'codes.npz', ('train', 'held_out')
    if path.exists():
        with np.load(path) as kept:
            if not run.digests.isdisjoint(as_names(kept['checkpoint'].tolist())):
                return [kept[name] for name in names]
        shutil.rmtree(folder)
        folder.mkdir()
    encode = posteriors if name == 'second_stage' else draw_codes
    codes = [
        encode(run.method, split.x, seed=run.config.seed)
        for split in (dataset.train, dataset.validation)
    ]
    with atomic_path(path) as temporary:
        np.savez(temporary, checkpoint=sorted(run.digests), **dict(zip(names, codes, strict=True)))
    return codes


def as_names(digests: str | list[str]) -> list[str]:
    """Digests as they are kept: of all files with the weights; older files have one alone."""
    return [digests] if isinstance(digests, str) else digests


def build(name: str, run: Run, tensors: dict[str, np.ndarray]) -> Prior:
    """The trained stage as a prior of the run's codes."""
    size = run.config.latent_dim * (2 if name == 'second_stage' else 1)
    spec = DatasetSpec(CODES, 'vectors', (size,), None, None, (-math.inf, math.inf))
    stage: Method = build_method(_config(name, run), spec)
    for v in stage.weights:
        v.assign(tensors[v.path])
    return TwoStages(stage) if isinstance(stage, SecondStage) else stage.prior


def _config(name: str, run: Run) -> TrainConfig:
    """Sizes as the run has them; rates as its authors, or FlexAE, have them."""
    own = run.config
    return TrainConfig(
        method=name,
        dataset=CODES,
        seed=own.seed,
        network=architecture_name(own.network, run.spec.shape),
        generator_capacity=own.generator_capacity,
        latent_dim=own.latent_dim,
        noise_dim=own.noise_dim,
        ae_learning_rate=1e-4,  # of the second stage
        precision=own.precision,
        jit_compile=own.jit_compile,
        deterministic=own.deterministic,
        sample_every_steps=1000,
        snapshot_every_steps=0,
    )


def _batch_size(name: str, run: Run, num: int) -> int:
    return min(512 if name == 'second_stage' else run.config.batch_size, num)
