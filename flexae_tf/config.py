"""Every option of every program, written once: default, help text and limits.

The options of a program are a frozen dataclass, checked the same whether it is filled from flags or
in a notebook. Names of methods and data sets are plain data here; nothing imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from flexae_tf.errors import UsageError
from flexae_tf.options import Options, option, where

METHODS = (
    'flexae',
    'wae_normal',
    'wae_gmm_prior',
    'flexae_sr',
    'vae',
    'beta_vae',
    'vae_vampprior',
    'vae_flow',
    'vae_iop',
    'two_stage_vae',
    'wae_gan',
    'ae_gmm',
    'rae_gmm',
    'injflow',
    'injflow_gmm',
    'mask_aae',
)
STAGES = ('second_stage', 'latent_gan')  # trained on the codes of another method
EX_POST = ('gaussian_mixture', *STAGES)  # densities fitted to codes after training
# What they do at a step depends on how many there will be.
SCHEDULED = (
    'vae_vampprior',
    'vae_iop',
    'two_stage_vae',
    'wae_gan',
    'mask_aae',
    'second_stage',
)
# Trained by a divergence of codes and prior.
JOINT = ('flexae', 'wae_normal', 'wae_gmm_prior')
# Options that are open in the paper: given to these methods, which need them, and to no other.
OPEN = {
    'kl_weight': ('beta_vae', 'vae_flow'),
    'num_pseudo_inputs': ('vae_vampprior',),
    'adversarial_weight': ('wae_gan',),
    'mask_fidelity_weight': ('mask_aae',),
    'mixture': ('wae_gmm_prior',),
    'code_weight': ('rae_gmm',),
    'decoder_weight': ('rae_gmm',),
    'volume_weight': ('injflow', 'injflow_gmm'),
}
DIVERGENCES = ('wasserstein', 'jensen_shannon', 'kl', 'mmd', 'sliced_wasserstein')
MIXTURES = ('data', 'circle')
CODES = 'codes'  # the data set of a stage: codes of a run's training examples
DATASETS = (
    'digits',
    'mnist',
    'fashion_mnist',
    'cifar10',
    'celeba',
    'synthetic_2d',
    'synthetic_5d',
    'folder',
)
NETWORKS = ('auto', 'mnist', 'cifar10', 'celeba', 'synthetic', 'released')
MAX_SEED = 2**31 - 1
METRICS = ('fd', 'kd', 'prd', 'improved', 'density', 'fd_infinity', 'inception_score')
KINDS = ('rec', 'gen', 'floor', 'codes')
LAYERS = ('pool_3', 'mixed_7', 'mixed_8')
FEATURES = ('auto', 'inception', 'pixels')
RESIZES = ('tf1_bilinear', 'half_pixel_bilinear', 'antialiased_bicubic')
SCALES = ('paper', 'small')
GENERATORS = ('default', *(f'capacity_{i}' for i in range(1, 7)))


INCEPTION_HELP = (
    "SavedModel of the network, a folder or an archive; TF-GAN's own from its hub when not given."
)
CACHE_HELP = (
    'Folder kept between evaluations: features of real images, unpacked networks; '
    '~/.cache/flexae_tf when not given.'
)


def _device() -> Any:
    return where(
        'auto',
        'What programs run on: auto uses every GPU there is, gpu fails when there is none.',
        choices=('auto', 'gpu', 'cpu'),
    )


def _ex_post() -> Any:
    return option(
        None,
        "Sample from a density fitted to the codes of training examples; the method's own choice "
        'when not given, none for its prior.',
        choices=(*EX_POST, 'none'),
    )


def _checkpoint() -> Any:
    return option('last', 'last, or the step of a checkpoint or snapshot.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """What `bin/train.py` needs to know; the defaults are the paper's (Algorithm 1, Table 6)."""

    method: str = option('flexae', 'Method to train.', choices=(*METHODS, *STAGES))
    workdir: str | None = where(None, 'Folder of this run; the same command again resumes it.')
    seed: int = option(
        0, 'Seed of initial weights, batches and noise.', minimum=0, maximum=MAX_SEED
    )

    dataset: str = option('digits', 'Data set to train on.', choices=(*DATASETS, CODES))
    data_dir: str | None = where(
        None,
        'Folder of the data: of tensorflow-datasets, or of your own pictures (--dataset=folder), '
        'or an .npz file.',
    )
    download: bool = where(False, 'Let tensorflow-datasets download what is missing.')
    image_size: int | None = option(
        None, 'Height and width of images of --dataset=folder (64 when not given).', minimum=4
    )
    celeba_crop: int = option(
        140, 'Side of the centre crop of CelebA before it is resized to 64.', minimum=64
    )
    train_examples: int | None = option(
        None, 'Train on this many examples only (all when not given).', minimum=1
    )
    validation_examples: int | None = option(
        None,
        'Training images held out for validation (a tenth, at most 5000, when not given).',
        minimum=2,
    )

    network: str = option(
        'auto',
        "Row of Tables 5-6 to build; auto takes the nearest image size. Or the authors' released "
        'networks.',
        choices=NETWORKS,
    )
    width_multiplier: float = option(
        1.0, 'Scales the channels of every convolution, for small machines.', above=0.0
    )
    latent_dim: int | None = option(
        None, 'Size m of a latent code (32 / 128 / 128 / 2 as in Tables 5-6).', minimum=1
    )
    noise_dim: int | None = option(
        None, "Size m' of the input of P-GEN (latent_dim when not given).", minimum=1
    )
    generator: str = option(
        'default', 'P-GEN: Table 7 (Table 5 on vectors), or Table 8.', choices=GENERATORS
    )

    divergence: str = option(
        'wasserstein',
        'D_Z of flexae, wae_normal and wae_gmm_prior: how far codes are from the prior. By a '
        'critic (the paper), a discriminator, a density ratio, kernels, or sorted projections.',
        choices=DIVERGENCES,
    )
    mixture: str | None = option(
        None,
        'Prior of wae_gmm_prior: the mixture that --dataset=synthetic_2d was drawn from, or six '
        'Gaussians of variance 1 on a circle of radius 6.',
        choices=MIXTURES,
    )

    training_steps: int = where(130_000, 'Train until this iteration.', minimum=1)
    batch_size: int = option(128, 'Images in a batch, all devices together.', minimum=2)
    critic_steps: int = option(5, 'Critic steps in an iteration (disc_training_ratio).', minimum=1)
    critic_batches: str = option(
        'fresh',
        "Images of the critic's steps: a fresh batch each, or the batch of the auto-encoder step.",
        choices=('fresh', 'shared'),
    )
    bn_mix_generated: bool = option(
        False, "Also move the decoder's batch-norm averages on generated codes, as the authors do."
    )
    gradient_penalty_weight: float = option(10.0, 'beta of Eq. 5.', minimum=0.0)
    kl_weight: float | None = option(
        None,
        'beta of beta_vae and vae_flow: weight of the KL divergence beside half the squared error '
        'of an image.',
        above=0.0,
    )
    num_pseudo_inputs: int | None = option(
        None, 'K of vae_vampprior: learned images whose posteriors are its prior.', minimum=1
    )
    adversarial_weight: float | None = option(
        None,
        'lambda of wae_gan: weight of the adversarial loss beside the squared error of an image.',
        above=0.0,
    )
    code_weight: float | None = option(
        None,
        'a of rae_gmm: weight of the squared norm of a code beside the squared error of an image.',
        minimum=0.0,
    )
    decoder_weight: float | None = option(
        None,
        "b of rae_gmm: weight of the squares of the decoder's kernels beside the squared error of "
        'an image.',
        minimum=0.0,
    )
    volume_weight: float | None = option(
        None,
        'k of injflow and injflow_gmm: weight of minus the log likelihood (code and volume) beside '
        'the squared error of an image.',
        above=0.0,
    )
    mask_fidelity_weight: float | None = option(
        None,
        'Weight of the reconstruction loss, a mean over pixels, in the step of the mask of '
        'mask_aae.',
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
        'float32, tf32 (float32 with TensorFloat-32 products, GPU only), or mixed_bfloat16 in '
        'encoder and decoder.',
        choices=('float32', 'tf32', 'mixed_bfloat16'),
    )
    jit_compile: bool = where(False, 'Compile the iteration with XLA (one device only).')
    deterministic: bool = where(
        False, 'On a GPU, use only kernels that repeat to the last bit; slower.'
    )
    device: str = _device()

    log_every_steps: int = where(100, 'Log losses this often.', minimum=1)
    sample_every_steps: int = where(
        1000, 'Write image grids and latent and validation statistics this often.', minimum=1
    )
    eval_every_steps: int = where(
        0, 'Add Frechet distances on validation data this often (0: never).', minimum=0
    )
    save_every_steps: int = where(1000, 'Write a checkpoint this often.', minimum=1)
    keep_checkpoints: int = where(3, 'Rolling checkpoints to keep.', minimum=1)
    snapshot_steps: int = where(
        10_000, 'Keep the weights alone this often, for later choice (0: never).', minimum=0
    )
    dry_run: bool = where(False, 'Print what would be run and what it needs, then stop.')

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.method in STAGES) != (self.dataset == CODES):
            raise UsageError(
                f'--method={self.method} with --dataset={self.dataset}: the densities '
                f'{" and ".join(STAGES)} are trained on the codes of a finished run, by '
                'bin/evaluate.py --ex_post=NAME'
            )
        for name, methods in OPEN.items():
            value = getattr(self, name)
            if (value is not None) != (self.method in methods):
                whose = self.method if self.method in methods else methods[0]
                raise UsageError(
                    f'--{name}={value} with --method={self.method}: it is for '
                    f'{", ".join(methods)}; there it is needed (flags/methods/{whose}.flags)'
                )
        if self.divergence != 'wasserstein' and self.method not in JOINT:
            raise UsageError(
                f'--divergence={self.divergence} with --method={self.method}: it is for '
                f'{", ".join(JOINT)}'
            )
        if self.mixture == 'data' and (
            self.dataset != 'synthetic_2d' or self.latent_dim not in (None, 2)
        ):
            raise UsageError(
                f'--mixture=data with --dataset={self.dataset} and --latent_dim={self.latent_dim}: '
                'it is that of synthetic_2d, in two dimensions; use --mixture=circle'
            )
        if self.mixture == 'circle' and self.latent_dim == 1:
            raise UsageError('--mixture=circle needs --latent_dim=2 or more')

    def identity(self) -> dict[str, Any]:
        """As `Options.identity`; a schedule makes the number of steps a part of it."""
        steps = {'training_steps': self.training_steps} if self.method in SCHEDULED else {}
        return super().identity() | steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """What `bin/evaluate.py` needs to know."""

    workdir: str | None = where(None, 'Folder of the trained run.')
    real: str | None = where(
        None, 'Instead of a run: a folder or .npz of real pictures, scored against --fake.'
    )
    fake: str | None = where(None, 'A folder or .npz of generated pictures.')
    output: str | None = where(None, 'With --real and --fake: append the scores to this file.')
    checkpoint: str | None = option(
        None,
        'last, best_validation, late (from 8/13 of the newest step on, which the authors choose '
        'from), all, or a step; last when not given, late with --protocol=authors.',
    )
    data_dir: str | None = where(None, "Folder of the data; the run's own when not given.")
    split: str = option('test', 'What the run is compared with.', choices=('test', 'validation'))

    metrics: str | None = option(
        None,
        f'Comma-separated, of {",".join(METRICS)}; all that apply when not given, fd alone with '
        '--protocol=authors.',
    )
    kinds: str = option(
        ','.join(KINDS),
        'Comma-separated, what is scored: reconstructions, samples, training examples (the floor) '
        'by these metrics, and codes against the prior.',
    )
    protocol: str = option(
        'standard',
        'standard: uint8 images, last checkpoint. authors: each fake stretched to [0, 1] and not '
        'rounded, and the minimum over late checkpoints, which selects on the test set.',
        choices=('standard', 'authors'),
    )
    stretch: bool | None = option(None, "Stretch each fake to fill [0, 1]; the protocol's choice.")
    quantisation: str | None = option(
        None, "Rounding of fakes; the protocol's choice.", choices=('uint8_round', 'none')
    )
    features: str = option(
        'auto',
        'What images are compared by; auto: inception for images, the values for vectors.',
        choices=FEATURES,
    )
    feature_layer: str = option('pool_3', 'Output of the Inception network.', choices=LAYERS)
    resize: str = option(
        'tf1_bilinear',
        "How images get to the network's size; tf1_bilinear is what FID means.",
        choices=RESIZES,
    )
    inception_path: str | None = where(None, INCEPTION_HELP)
    ex_post: str | None = _ex_post()
    ex_post_steps: int | None = where(
        None,
        'Iterations of second_stage (400 epochs when not given) or latent_gan (as many as the run '
        'had).',
        minimum=1,
    )
    num_examples: int = option(
        10_000, 'Images on each side, at most (the test split may be smaller).', minimum=2
    )
    sample_seed: int = option(0, 'Seed of the generated images.', minimum=0, maximum=MAX_SEED)
    repeats: int = option(
        1, 'Sets of generated images, with seeds that follow --sample_seed.', minimum=1
    )
    bootstrap: int = option(
        0, 'Resamples behind the standard deviation of Frechet distances (0: none).', minimum=0
    )
    real_statistics: str | None = option(
        None, 'File of mean and covariance (.npz with mu, sigma) that stands for the real images.'
    )
    foreign_statistics: bool = option(
        False, 'Take --real_statistics that do not say what they were made of.'
    )
    write_statistics: str | None = where(
        None, 'Write mean and covariance of the real images to this .npz file.'
    )
    cache_dir: str | None = where(None, CACHE_HELP)
    batch_size: int = where(50, 'Images per call of the networks.', minimum=1)
    device: str = _device()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.workdir is None) == (self.real is None):
            raise UsageError('--workdir is needed, or --real and --fake: give one of the two')
        if (self.real is None) != (self.fake is None):
            raise UsageError('--real and --fake go together: give both')
        if self.real and self.checkpoint:
            raise UsageError(f'--checkpoint={self.checkpoint}: pictures have none; leave it out')
        if self.real and (self.ex_post or self.ex_post_steps):
            raise UsageError(
                '--ex_post and --ex_post_steps: pictures have no codes; leave them out'
            )
        if self.output and not self.real:
            raise UsageError(f'--output={self.output}: the scores of a run are in its workdir')
        if self.checkpoint not in (None, 'best_validation', 'late', 'all'):
            checkpoint_step(self.checkpoint, 'best_validation, late, all')
        for name, given, known in (
            ('metrics', self.metrics or METRICS[0], METRICS),
            ('kinds', self.kinds, KINDS),
        ):
            for item in given.split(','):
                if item not in known:
                    raise UsageError(f'--{name}={item}: choose of {", ".join(known)}')
        if self.bootstrap == 1:
            raise UsageError('--bootstrap=1: one resample has no deviation; give 2 or more, or 0')
        if self.checkpoint == 'best_validation' and self.split == 'validation':
            raise UsageError('--checkpoint=best_validation was chosen by --split=validation: test')
        if self.real and self.repeats > 1:
            raise UsageError(f'--repeats={self.repeats}: pictures are one set; leave it out')
        if self.bootstrap and self.real_statistics:
            raise UsageError('--bootstrap resamples features: --real_statistics has none')
        if self.real_statistics and self.metrics not in (None, 'fd'):
            raise UsageError('--real_statistics: mean and covariance give --metrics=fd alone')
        if self.foreign_statistics and not self.real_statistics:
            raise UsageError('--foreign_statistics: of which file? give --real_statistics')


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(Options):
    """What `bin/sample.py` needs to know."""

    source: str | None = where(None, "A run's workdir, or an exported SavedModel.", required=True)
    checkpoint: str = _checkpoint()
    ex_post: str | None = _ex_post()
    num_samples: int = option(64, 'Images to sample.', minimum=1)
    sample_seed: int = option(
        0, 'Seed of the samples: the same seed, the same images.', minimum=0, maximum=MAX_SEED
    )
    output: str | None = where(
        None, 'File to write: .png for a grid, .npz for the arrays.', required=True
    )
    batch_size: int = where(256, 'Images per call of the decoder.', minimum=1)
    device: str = _device()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)
        if not self.output.endswith(('.png', '.npz')):
            raise UsageError(f'--output={self.output}: give a file that ends in .png or .npz')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """What `bin/export.py` needs to know."""

    workdir: str | None = where(None, 'Folder of the trained run.', required=True)
    checkpoint: str = _checkpoint()
    ex_post: str | None = _ex_post()
    export_dir: str | None = where(
        None, 'Folder of the SavedModel; WORKDIR/export/STEP when not given.'
    )
    device: str = _device()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(TrainConfig):
    """What `bin/benchmark.py` needs to know: a training, and how much of it to time."""

    subject: str = where(
        'training',
        'What to time: the training, or every metric on 10000 random features of 2048 dimensions '
        'a side.',
        choices=('training', 'metrics'),
    )
    iterations: int = where(10, 'Iterations to time.', minimum=1)
    warmup: int = where(2, 'Iterations before them, the compilation included.', minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """What `bin/doctor.py` needs to know."""

    data_dir: str | None = where(None, 'Folder of tensorflow-datasets to look into.')
    inception_path: str | None = where(None, INCEPTION_HELP)
    cache_dir: str | None = where(None, CACHE_HELP)
    device: str = _device()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Options):
    """What `bin/reproduce.py` needs to know."""

    tune: str | None = option(
        None,
        'Method whose open weight is chosen: one training for each value of a small grid, scored '
        'on validation examples.',
        required=True,
    )
    dataset: str | None = option(None, 'Data set of the runs.', choices=DATASETS, required=True)
    values: str | None = option(
        None,
        "Comma-separated numbers, in place of the grid's; factors where the grid has factors.",
    )
    scale: str = option(
        'paper',
        'paper: the flagfiles as they are. small: a miniature for two CPU cores, with an eighth of '
        'the channels, 3000 iterations, and scores of 5000 examples.',
        choices=SCALES,
    )
    training_steps: int | None = option(
        None, "Train until this iteration; the scale's when not given.", minimum=1
    )
    seed: int = option(0, 'Seed of the runs.', minimum=0, maximum=MAX_SEED)
    num_examples: int | None = option(
        None, "Examples on each side of a score, at most; the scale's when not given.", minimum=2
    )
    features: str = option(
        'auto',
        'What images are compared by; auto: inception for images, the values for vectors.',
        choices=FEATURES,
    )
    feature_layer: str = option('pool_3', 'Output of the Inception network.', choices=LAYERS)

    output: str | None = where(
        None, 'Folder of the runs and of what comes of them; the same again resumes.', required=True
    )
    list: bool = where(
        False, 'Print the runs, their commands and how far they are, and run nothing.'
    )
    data_dir: str | None = where(None, 'Folder of the data, as for `bin/train.py`.')
    download: bool = where(False, 'Let tensorflow-datasets download what is missing.')
    inception_path: str | None = where(None, INCEPTION_HELP)
    cache_dir: str | None = where(None, CACHE_HELP)
    device: str = _device()

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.values.split(',') if self.values else ():
            try:
                float(value)
            except ValueError:
                raise UsageError(
                    f'--values={self.values}: {value!r} is no number; write them as 0.1,0.2'
                ) from None


def checkpoint_step(checkpoint: str | int, others: str = '') -> int | None:
    """The step that `--checkpoint` names; None for the last one.

    Args:
        checkpoint: what was given.
        others: what else may be given, for the error message.

    Raises:
        UsageError: neither 'last' nor a number.
    """
    if checkpoint == 'last':
        return None
    if not str(checkpoint).isdecimal():
        choices = f'last, {others}' if others else 'last'
        raise UsageError(f'--checkpoint={checkpoint}: give {choices}, or the number of a step')
    return int(checkpoint)
