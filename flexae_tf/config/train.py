"""Options of `bin/train.py`."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any, ClassVar

from flexae_tf.config.options import Options, find_flagfile, option, path_option, runtime_option
from flexae_tf.config.shared import (
    MAX_BATCH_SIZE,
    MAX_IMAGE_SIZE,
    MAX_LATENT_DIM,
    MAX_SEED,
    device_option,
    distribution_option,
    jit_compile_option,
    skip_bad_images_option,
    value_range_option,
)
from flexae_tf.errors import UsageError

DIVERGENCES = ('wasserstein', 'jensen_shannon', 'kl', 'mmd', 'sliced_wasserstein')
MIXTURES = ('data', 'circle')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """Options of `bin/train.py`; the defaults are the paper's (Algorithm 1, Table 6)."""

    method: str = option('flexae', 'Method to train, or package.module:Class.')
    workdir: str | None = path_option('Folder of the run. The same command resumes it.')
    seed: int = option(
        0, 'Seed of initial weights, batches and noise.', minimum=0, maximum=MAX_SEED
    )

    init_from: str | None = path_option(
        'Folder of a run whose weights training starts from (default: random weights).'
    )
    init_checkpoint: str | None = option(
        None,
        'Step of the checkpoint of --init_from (default: the newest valid one). The run records '
        'STEP-DIGEST, which is accepted, too.',
    )

    dataset: str = option('digits', 'Data set to train on, or package.module:NAME.')
    data_dir: str | None = path_option(
        'Folder of tensorflow-datasets, or of the official files of CelebA; with --dataset=folder: '
        'folder of images, .npy or .npz file.'
    )
    download: bool = runtime_option(False, 'Download a missing data set with tensorflow-datasets.')
    image_size: int | None = option(
        None,
        'Height and width of images of --dataset=folder (default: 64; size of arrays).',
        minimum=4,
        maximum=MAX_IMAGE_SIZE,
    )
    value_range: str | None = value_range_option()
    channels: int | None = option(
        None, 'Channels of images of --dataset=folder: 3, or 1 for grey (default: 3).'
    )
    skip_bad_images: bool = skip_bad_images_option()
    converted_dir: str | None = path_option(
        'Folder for a copy of the images of --dataset=folder: they are decoded once into a file, '
        'and batches are read from it, so that they need not fit into memory (default: memory).'
    )
    celeba_crop: int = option(
        140, 'Side of the centre crop of CelebA images, before the resize to 64.', minimum=64
    )
    train_examples: int | None = option(
        None, 'Number of training examples to use (default: all).', minimum=1
    )
    validation_examples: int | None = option(
        None,
        'Number of validation examples: held out of the training examples, or further examples of '
        'synthetic data (default: a tenth, at most 5000).',
        minimum=2,
    )

    network: str = option(
        'auto',
        'Architecture of Tables 5-6 (mnist, cifar10, celeba, synthetic). auto: the nearest image '
        'size. released: the networks that the authors published.',
    )
    width_multiplier: float = option(
        1.0, 'Factor on the channels of every convolution.', above=0.0, maximum=16.0
    )
    latent_dim: int | None = option(
        None,
        'Size m of a code (default: Tables 5-6: 32, 128, 128, 2 or 50).',
        minimum=1,
        maximum=MAX_LATENT_DIM,
    )
    noise_dim: int | None = option(
        None,
        "Size m' of the input of P-GEN (default: --latent_dim).",
        minimum=1,
        maximum=MAX_LATENT_DIM,
    )
    generator_capacity: int | None = option(
        None,
        'Row of Table 8, 1 to 6, to use as P-GEN (default: Table 7; Table 5 for vectors).',
        minimum=1,
        maximum=6,
    )

    divergence: str = option(
        'wasserstein',
        'Divergence D_Z between codes and prior of flexae, wae_normal and wae_gmm_prior. '
        'wasserstein (paper): critic. jensen_shannon: discriminator. kl: density ratio. mmd: '
        'kernels. sliced_wasserstein: sorted projections.',
        choices=DIVERGENCES,
    )
    mixture: str | None = option(
        None,
        'Prior of wae_gmm_prior. data: the mixture of --dataset=synthetic_2d. circle: six '
        'Gaussians of variance 1 on a circle of radius 6.',
        choices=MIXTURES,
    )

    training_steps: int = runtime_option(
        130_000, 'Train until this step; 0 saves the initial weights.', minimum=0
    )
    batch_size: int = option(
        128, 'Number of images in a batch, over all devices.', minimum=2, maximum=MAX_BATCH_SIZE
    )
    critic_steps: int = option(
        5, 'Critic steps per training step (disc_training_ratio).', minimum=1, maximum=100
    )
    critic_batches: str = option(
        'fresh',
        'Images of the critic steps. fresh: a new batch each. shared: the batch of the '
        'auto-encoder step.',
        choices=('fresh', 'shared'),
    )
    bn_mix_generated: bool = option(
        False,
        "Also update the decoder's batch-norm averages with generated codes, as the authors do.",
    )
    bn_momentum: float = option(
        0.99,
        'Momentum of the batch-norm averages, which inference uses. The averages may lag behind '
        'codes that move fast, such as the codes of adversarial methods.',
        minimum=0.0,
        maximum=0.9999,
    )
    gradient_penalty_weight: float = option(
        10.0, 'Weight of the gradient penalty, beta of Eq. 5.', minimum=0.0
    )
    kl_weight: float | None = option(
        None,
        'beta of beta_vae, vae_flow, vae_flow_prior, vae_vampprior and vae_iop: weight of the '
        'divergence from the prior; half the squared error of an image has weight 1 (default of '
        'the last two: 1).',
        above=0.0,
    )
    num_pseudo_inputs: int | None = option(
        None,
        'K of vae_vampprior: number of learned images whose posteriors form the prior.',
        minimum=1,
        maximum=MAX_BATCH_SIZE,
    )
    adversarial_weight: float | None = option(
        None,
        'lambda of wae_gan: weight of the adversarial loss; the squared error of an image has '
        'weight 1.',
        above=0.0,
    )
    discriminator: str = option(
        'mnist',
        "Discriminator of wae_gan, as in its authors' configuration for a data set. mnist: four "
        'layers of 512 units. celeba: of 1024 units; ln p(z) of the prior is added to the logit.',
        choices=('mnist', 'celeba'),
    )
    code_weight: float | None = option(
        None,
        'a of rae_gmm: weight of the squared norm of a code; the squared error of an image has '
        'weight 1.',
        minimum=0.0,
    )
    decoder_weight: float | None = option(
        None,
        'b of rae_gmm: weight of the squared kernels of the decoder; the squared error of an image '
        'has weight 1.',
        minimum=0.0,
    )
    volume_weight: float | None = option(
        None,
        'k of injflow and injflow_gmm: weight of the negative log likelihood (code and volume); '
        'the squared error of an image has weight 1.',
        above=0.0,
    )
    mask_fidelity_weight: float | None = option(
        None,
        'Weight of the reconstruction loss, a mean over pixels, in the mask step of mask_aae.',
        above=0.0,
    )
    ae_learning_rate: float = option(1e-3, 'Learning rate of the auto-encoder step.', above=0.0)
    critic_learning_rate: float = option(
        1e-4, 'Learning rate of the step of the critic, discriminator or classifier.', above=0.0
    )
    gen_learning_rate: float = option(5e-4, 'Learning rate of the P-GEN step.', above=0.0)
    enc_learning_rate: float = option(
        1e-5, 'Learning rate of the adversarial step of the encoder.', above=0.0
    )
    smooth_learning_rate: float = option(
        2e-4, 'Learning rate of the image critic and of the smoothing step of flexae_sr.', above=0.0
    )

    precision: str = option(
        'tf32',
        'float32; tf32: float32 with TensorFloat-32 products on GPUs; mixed_bfloat16: bfloat16 in '
        'encoder and decoder, tf32 elsewhere.',
        choices=('float32', 'tf32', 'mixed_bfloat16'),
    )
    jit_compile: str = jit_compile_option()
    keep_compiled: bool = runtime_option(
        False,
        "Keep XLA's compiled programs in the workdir, so that a resumed run starts sooner. "
        'TensorFlow then prints a line about text_format.cc, which has no effect.',
    )
    deterministic: bool = runtime_option(
        False, 'Use only GPU kernels whose results are bit-reproducible; slower.'
    )
    device: str = device_option()
    distribution: str = distribution_option(processes=True)

    log_every_steps: int = runtime_option(100, 'Log the losses this often.', minimum=1)
    sample_every_steps: int = runtime_option(
        1000, 'Write image grids and latent and validation statistics this often.', minimum=1
    )
    eval_every_steps: int = runtime_option(
        0, 'Log Frechet distances to validation examples this often; 0: never.', minimum=0
    )
    save_every_steps: int = runtime_option(1000, 'Write a checkpoint this often.', minimum=1)
    keep_checkpoints: int = runtime_option(3, 'Number of newest checkpoints to keep.', minimum=1)
    snapshot_every_steps: int = runtime_option(
        10_000, 'Keep a snapshot of the weights this often; 0: never.', minimum=0
    )
    replay_step: int | None = runtime_option(
        None,
        'Repeat the run from its newest checkpoint at or before this step, and print the operation '
        'with the first value that is not finite; write nothing.',
        minimum=0,
    )
    dry_run: bool = runtime_option(
        False, 'Print the plan of the run and its requirements; train nothing.'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint = self.init_checkpoint
        if checkpoint is None:
            return
        if not self.init_from:
            raise UsageError(f'--init_checkpoint={checkpoint}: needs --init_from. Set both.')
        if not re.fullmatch(r'[0-9]+(-[0-9a-f]{12})?', checkpoint):
            raise UsageError(f'--init_checkpoint={checkpoint}: unknown. Use a step.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedConfig(TrainConfig):
    """A training configuration with `latent_dim` and `noise_dim` filled in by `methods.resolve`.

    Attributes:
        depends_on_training_steps: whether `training_steps` is part of the identity of the run.
    """

    depends_on_training_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.latent_dim is None or self.noise_dim is None:
            raise ValueError('latent_dim and noise_dim of a resolved configuration are not None')

    def identity(self) -> dict[str, Any]:
        """Returns the options that change results; a schedule can add `training_steps`."""
        steps = {'training_steps': self.training_steps} if self.depends_on_training_steps else {}
        return super().identity() | steps

    @staticmethod
    def of(
        config: TrainConfig, *, depends_on_training_steps: bool = False, **changes: Any
    ) -> ResolvedConfig:
        """Returns `config` with `changes`, as a resolved configuration.

        Args:
            config: a training configuration; options of a subclass are kept.
            depends_on_training_steps: the attribute of the result.
            changes: options to fill in; `latent_dim` and `noise_dim` among them.
        """
        options = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        return _resolved_class(type(config), depends_on_training_steps)(**options | changes)


@functools.cache
def _resolved_class(given: type[TrainConfig], scheduled: bool) -> type[ResolvedConfig]:
    base = ResolvedConfig if given is TrainConfig else given
    bases = (base,) if issubclass(base, ResolvedConfig) else (base, ResolvedConfig)
    if bases == (base,) and base.depends_on_training_steps == scheduled:
        return base
    members = {'depends_on_training_steps': scheduled, '__doc__': ResolvedConfig.__doc__}
    cls = type(f'Resolved{given.__name__.removeprefix("Resolved")}', bases, members)
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def training_flagfiles(method: str, dataset: str) -> list[str]:
    """Returns the flagfiles of a method on a data set, in the order in which to give them.

    Args:
        method: name of a method. One from outside the package (`package.module:Class`) has none.
        dataset: name of a data set.
    """
    both = f'methods/{method}_{dataset}.flags'
    if find_flagfile(both):
        return [both]
    return [*([] if ':' in method else [f'methods/{method}.flags']), f'datasets/{dataset}.flags']
