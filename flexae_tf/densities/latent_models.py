"""Densities that are methods themselves, trained on the codes of a run by the usual trainer."""

import dataclasses
import math
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf.checked_files import read_arrays, write_arrays
from flexae_tf.config import TrainConfig
from flexae_tf.data import CODES, Dataset, DatasetSpec, Split
from flexae_tf.errors import UsageError, UserError
from flexae_tf.methods import build_method, resolve
from flexae_tf.methods.base import Method
from flexae_tf.methods.posterior_samples import posterior_parameters, sample_codes
from flexae_tf.methods.second_stage import TwoStagePrior
from flexae_tf.networks.architectures import architecture_name
from flexae_tf.priors import Prior
from flexae_tf.training.restore import Run
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class LatentModel:
    """Settings of a method that is trained on codes.

    Attributes:
        encode: (method, x, seed=) -> codes [n, width * latent_dim] to train on.
        width: size of such a code in multiples of latent_dim.
        build_prior: trained model -> prior of codes [latent_dim].
        batch_size: None for the batch size of the run.
        epochs: default length of the training; None for as many steps as the run had.
    """

    encode: Callable[..., np.ndarray]
    width: int
    build_prior: Callable[[Method], Prior]
    batch_size: int | None = None
    epochs: int | None = None


MODELS = {
    # After Dai and Wipf 2019, with another budget (DEVIATIONS.md).
    'second_stage': LatentModel(posterior_parameters, 2, TwoStagePrior, batch_size=512, epochs=400),
    'latent_gan': LatentModel(sample_codes, 1, lambda model: model.prior),
}


def fit(
    name: str,
    run: Run,
    dataset: Dataset,
    folder: pathlib.Path,
    steps: int | None,
) -> dict[str, np.ndarray]:
    """Trains a latent model on one device and returns its weights.

    The networks are too small to gain from several devices. An interrupted training resumes.

    Args:
        name: a name of `MODELS`.
        run: an open run, whose codes are used.
        dataset: the run's own data.
        folder: becomes the workdir of the training.
        steps: training steps; None for the default of the model.

    Returns:
        Weights by path.

    Raises:
        UsageError: the folder holds a training of other `steps`.
        Interrupted: a signal was received.
        UserError: as `Trainer.train`.
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
    model = MODELS[name]
    batch_size = min(model.batch_size or run.config.batch_size, len(train))
    default = run.config.training_steps
    if model.epochs:
        default = math.ceil(model.epochs * len(train) / batch_size)
    config = resolve(
        dataclasses.replace(
            model_config(name, run),
            workdir=str(folder),
            batch_size=batch_size,
            training_steps=steps or default,
        ),
        spec,
    )
    if (folder / 'config.json').exists():
        found = Workdir(folder).read()[0].training_steps
        if found != config.training_steps:
            raise UsageError(
                f'{folder}: holds an unfinished training of {found} steps, not '
                f'{config.training_steps}. Use --density_steps={found}, or remove that folder.'
            )
    # Held-out codes replace test codes, because training must not use the test split.
    trainer = Trainer(
        config,
        Dataset(spec, train, held_out, held_out),
        strategy=tf.distribute.get_strategy(),
    )
    try:
        trainer.train()
    except UserError as error:
        raise type(error)(f'training {name} in {folder}: {error}') from None
    return {v.path: v.numpy() for v in trainer.method.weights}


def build(name: str, run: Run, tensors: dict[str, np.ndarray]) -> Prior:
    """Returns a trained latent model as a prior of the run's codes."""
    size = MODELS[name].width * run.config.latent_dim
    spec = DatasetSpec(CODES, 'vectors', (size,), None, None, (-math.inf, math.inf))
    model = build_method(resolve(model_config(name, run), spec), spec)
    for v in model.weights:
        v.assign(tensors[v.path])
    return MODELS[name].build_prior(model)


def model_config(name: str, run: Run) -> TrainConfig:
    """Returns the configuration of a latent model.

    Sizes and arithmetic come from the run. Learning rates come from Dai and Wipf 2019
    (`second_stage`) or from FlexAE (`latent_gan`).
    """
    config = run.config
    return TrainConfig(
        method=name,
        dataset=CODES,
        seed=config.seed,
        network=architecture_name(config.network, run.spec.shape),
        generator_capacity=config.generator_capacity,
        latent_dim=config.latent_dim,
        noise_dim=config.noise_dim,
        ae_learning_rate=1e-4,  # of the second stage
        precision=config.precision,
        jit_compile=config.jit_compile,
        deterministic=config.deterministic,
        sample_every_steps=1000,
        snapshot_every_steps=0,
    )


def _codes(
    name: str,
    run: Run,
    dataset: Dataset,
    folder: pathlib.Path,
) -> list[np.ndarray]:
    """Returns codes of training and held-out examples, computed once and stored in the folder.

    Codes differ in their last bits between devices, and a training resumes only with equal data.
    Codes and training of another checkpoint are removed.
    """
    path, names = folder / 'codes.npz', ('train', 'held_out')
    if path.exists():
        cure = f'Remove {folder}; the codes and the training on them start again'
        stored = read_arrays(path, 'checkpoint', *names, cure=cure)
        if not run.digests.isdisjoint(stored['checkpoint'].tolist()):
            return [stored[split] for split in names]
        shutil.rmtree(folder)
        folder.mkdir()
    codes = [
        MODELS[name].encode(run.method, split.x, seed=run.config.seed)
        for split in (dataset.train, dataset.validation)
    ]
    write_arrays(path, checkpoint=sorted(run.digests), **dict(zip(names, codes, strict=True)))
    return codes
