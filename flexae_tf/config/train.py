"""Options of training, and of measuring its speed."""

from __future__ import annotations

import dataclasses
from typing import Any

from flexae_tf.config.names import (
    CODES,
    DIVERGENCES,
    LAYERS,
    MAX_SEED,
    METHODS,
    MIXTURES,
    NETWORKS,
    OPEN,
    READ_BY,
    SCHEDULED,
    STAGES,
)
from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import INCEPTION_HELP, device_option
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """What `bin/train.py` needs to know; the defaults are the paper's (Algorithm 1, Table 6)."""

    method: str = option('flexae', 'Method to train.', choices=(*METHODS, *STAGES))
    workdir: str | None = path_option('Folder of this run; the same command again resumes it.')
    seed: int = option(
        0, 'Seed of initial weights, batches and noise.', minimum=0, maximum=MAX_SEED
    )

    dataset: str = option(
        'digits', 'Data set to train on: a name, or package.module:NAME of a Source.'
    )
    data_dir: str | None = path_option(
        'Folder of the data: of tensorflow-datasets, or of your own pictures (--dataset=folder), '
        'or an .npz file.',
    )
    download: bool = runtime_option(False, 'Let tensorflow-datasets download what is missing.')
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
        'Architecture of Tables 5-6 to build; auto takes the nearest image size. Or the released '
        'networks of the authors.',
        choices=NETWORKS,
    )
    width_multiplier: float = option(
        1.0, 'Scales the channels of every convolution, for small machines.', above=0.0
    )
    latent_dim: int | None = option(
        None, 'Size m of a latent code (32 / 128 / 128 / 2 / 50 as in Tables 5-6).', minimum=1
    )
    noise_dim: int | None = option(
        None, "Size m' of the input of P-GEN (latent_dim when not given).", minimum=1
    )
    generator_capacity: int | None = option(
        None,
        'Row 1 to 6 of Table 8 as P-GEN; Table 7 (Table 5 on vectors) when not given.',
        minimum=1,
        maximum=6,
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

    training_steps: int = runtime_option(
        130_000, 'Train until this iteration; 0 keeps the method as it begins.', minimum=0
    )
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
    bn_momentum: float = option(
        0.99,
        "Of batch norm's averages, by which images are scored and sampled. Where codes move fast, "
        'as those of an adversarial method may, 0.99 lags behind them.',
        minimum=0.0,
        maximum=0.9999,
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
        'encoder and decoder and tf32 elsewhere.',
        choices=('float32', 'tf32', 'mixed_bfloat16'),
    )
    jit_compile: bool = runtime_option(False, 'Compile the iteration with XLA (one device only).')
    deterministic: bool = runtime_option(
        False, 'On a GPU, use only kernels that repeat to the last bit; slower.'
    )
    device: str = device_option()

    log_every_steps: int = runtime_option(100, 'Log losses this often.', minimum=1)
    sample_every_steps: int = runtime_option(
        1000, 'Write image grids and latent and validation statistics this often.', minimum=1
    )
    eval_every_steps: int = runtime_option(
        0, 'Add Frechet distances on validation data this often (0: never).', minimum=0
    )
    save_every_steps: int = runtime_option(1000, 'Write a checkpoint this often.', minimum=1)
    keep_checkpoints: int = runtime_option(3, 'Rolling checkpoints to keep.', minimum=1)
    snapshot_every_steps: int = runtime_option(
        10_000, 'Keep the weights alone this often, for later choice (0: never).', minimum=0
    )
    dry_run: bool = runtime_option(False, 'Print what would be run and what it needs, then stop.')

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.method in STAGES) != (self.dataset == CODES):
            raise UsageError(
                f'--method={self.method} with --dataset={self.dataset}: the densities '
                f'{" and ".join(STAGES)} are trained on the codes of a finished run, by '
                'bin/evaluate.py --density=NAME'
            )
        for name, methods in OPEN.items():
            value = getattr(self, name)
            if (value is not None) != (self.method in methods):
                whose = self.method if self.method in methods else methods[0]
                raise UsageError(
                    f'--{name}={value} with --method={self.method}: it is for '
                    f'{", ".join(methods)}; there it is needed (flags/methods/{whose}.flags)'
                )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, methods in READ_BY.items():
            value = getattr(self, name)
            if value != defaults[name] and self.method not in (*methods, *STAGES):
                raise UsageError(
                    f'--{name}={value} with --method={self.method}: it is for {", ".join(methods)}'
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
class BenchmarkConfig(TrainConfig):
    """What `bin/benchmark.py` needs to know: a training, and how much of it to time."""

    subject: str = runtime_option(
        'training',
        'What to time: the training; an iteration of every method, with the numbers of its '
        'flagfile; every metric on 10000 random features of 2048 dimensions a side; or the network '
        'of the scores.',
        choices=('training', 'methods', 'metrics', 'network'),
    )
    inception_path: str | None = path_option(INCEPTION_HELP)
    feature_layer: str = runtime_option(
        'pool_3', 'Output of the Inception network.', choices=LAYERS
    )
    iterations: int = runtime_option(
        10, 'Iterations to time; 0 for sizes alone, of all methods.', minimum=0
    )
    warmup: int = runtime_option(2, 'Iterations before them, the compilation included.', minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.iterations and self.subject == 'training':
            raise UsageError('--iterations=0 times nothing: give 1 or more, or --subject=methods')
