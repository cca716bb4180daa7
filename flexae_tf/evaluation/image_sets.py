"""Sets of images that are scored: sets of a trained run, and sets of images from files."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.data import Dataset, Purpose, fixed_permutation
from flexae_tf.data.batches import map_batches
from flexae_tf.errors import NonFiniteLossError
from flexae_tf.methods.posterior_samples import sample_codes
from flexae_tf.training.restore import Run
from flexae_tf.training.workdir import Workdir


class ModelId(NamedTuple):
    """Identifies the model and checkpoint being scored.

    Attributes:
        step: step of the checkpoint; 0 for sets that belong to no checkpoint.
        checkpoint: digest of the checkpoint, or fingerprint of images from files; None for real
            images.
        seed: seed of the run; None for images from files.
        selection: rule that selected the checkpoint; None if a flag named it.
        density: fitted density of the samples; None for the method's own prior.
        batch_norm: `Protocol.batch_norm`; None for the stored averages.
    """

    step: int = 0
    checkpoint: str | None = None
    seed: int | None = None
    selection: str | None = None
    density: str | None = None
    batch_norm: str | None = None


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set to be scored.

    Attributes:
        name: a key of `protocol.SUFFIXES`.
        label: description for progress messages.
        model: the model that made the set.
        make: repeat -> examples [n, ...] as the model or the data set returns them.
        repeats: number of sets with different seeds.
        sample_seed: seed of the first set; None if the set is not sampled.
        paired: whether example i belongs to real example i.
        is_real: whether the examples are real, so that other runs score them too.
        source: path of images from files, as a note in records; None for other sets.
    """

    name: str
    label: str
    model: ModelId
    make: Callable[[int], np.ndarray]
    repeats: int = 1
    sample_seed: int | None = None
    paired: bool = False
    is_real: bool = False
    source: str | None = None


def of_run(
    run: Run,
    x: np.ndarray,
    model: ModelId,
    config: EvaluateConfig,
) -> Iterator[ImageSet]:
    """Yields the requested sets of a run: reconstructions of `x`, and as many samples.

    Args:
        run: run opened at one checkpoint.
        x: real examples [n, ...].
        model: identifies the run.
        config: options of the evaluation.
    """
    traced = run.method.traced

    def reconstruct(_: int) -> np.ndarray:
        return _finite(map_batches(traced.reconstruct, x, config.batch_size), run)

    def sample(repeat: int) -> np.ndarray:
        z = run.method.sample_latent(len(x), config.sample_seed + repeat).numpy()
        return _finite(map_batches(traced.decode, z, config.batch_size), run)

    requested = config.sets.split(',')
    if 'reconstructions' in requested:
        # A reconstruction involves no density and no sample seed.
        own = model._replace(density=None)
        yield ImageSet('reconstructions', 'reconstructions', own, reconstruct, paired=True)
    if 'samples' in requested:
        yield ImageSet(
            'samples',
            'samples',
            model,
            sample,
            repeats=config.repeats,
            sample_seed=config.sample_seed,
        )


def train_examples(dataset: Dataset, num: int, *, split: str, seed: int) -> ImageSet | None:
    """Returns as many training examples as there are real ones; None if there are too few.

    Args:
        dataset: data set of the run.
        num: number of examples.
        split: split of the real examples; for 'train' the returned examples differ from them.
        seed: seed of the run; the training examples may depend on it.
    """
    x, start = dataset.train.x, num if split == 'train' else 0
    if len(x) - start < num:
        available = max(0, len(x) - start)
        print(f'train is not scored: {num} training examples needed, {available} available')
        return None

    def make(_: int) -> np.ndarray:
        return x[start : start + num]

    return ImageSet('train', 'training examples', ModelId(seed=seed), make, is_real=True)


def codes_of_data(run: Run, x: np.ndarray, config: EvaluateConfig) -> np.ndarray:
    """Returns codes of examples [n, m]; posterior samples if the encoder is stochastic."""
    if run.method.method_spec.posterior == 'deterministic':
        z = map_batches(run.method.traced.encode, x, config.batch_size)
    else:
        z = sample_codes(run.method, x, seed=config.sample_seed)
    return _finite(z, run)


def codes_of_prior(run: Run, num: int, model: ModelId, config: EvaluateConfig) -> ImageSet:
    """Returns the set of `num` codes from the prior."""
    seed = config.sample_seed
    return ImageSet(
        'latents',
        'codes',
        model,
        lambda _: _finite(run.method.sample_latent(num, seed).numpy(), run),
        sample_seed=seed,
    )


def data_of_run(config: EvaluateConfig) -> tuple[TrainConfig, Dataset]:
    """Returns the configuration of the run and its data set, read from `--data_dir` if given."""
    workdir = Workdir(config.workdir)
    run_config, _ = workdir.read()
    if config.data_dir:
        run_config = dataclasses.replace(run_config, data_dir=config.data_dir)
    dataset = data.load(run_config)
    workdir.check_examples(dataset)
    return run_config, dataset


def real_examples(dataset: Dataset, split: str, num: int) -> np.ndarray:
    """Returns at most `num` examples of a split, the same in every run."""
    if split != 'test':  # in random order already
        return getattr(dataset, split).x[:num]
    # The paper scores 10000 random test images of CelebA and does not list them.
    test = dataset.test.x
    return test[fixed_permutation(len(test), Purpose.EVALUATION)[:num]]


def _finite(values: np.ndarray, run: Run) -> np.ndarray:
    if not np.isfinite(values).all():
        raise NonFiniteLossError(
            f'{run.workdir.path}: outputs of the model at step {run.step} are not finite. Score an '
            'earlier --checkpoint.'
        )
    return values
