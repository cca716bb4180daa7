"""Every option of every program, written once: default, help text and limits.

The options of a program are a frozen dataclass. From it come the absl flags, the checks (the same
for a flag and for a keyword argument in a notebook), and `config.json`. Nothing here imports
TensorFlow, so wrong flags are refused at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from absl import flags

from flexae_tf.errors import UsageError

METHODS = ('flexae',)
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
NETWORKS = ('auto', 'mnist', 'cifar10', 'celeba', 'synthetic')
GENERATORS = ('default', *(f'capacity_{i}' for i in range(1, 7)))


def option(
    default: Any,
    help_text: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    required: bool = False,
    identity: bool = True,
) -> Any:
    """A dataclass field that knows how to be a flag.

    Args:
        default: the default; None means "decided by the data set", as the help text says.
        help_text: shown by `--help`.
        choices: the allowed strings.
        minimum: smallest allowed number.
        above: the number must be larger than this.
        required: whether None is refused.
        identity: whether the option is part of what a run is. An option that is not may differ
            when the run is resumed.
    """
    metadata = dict(
        help=help_text,
        choices=choices,
        minimum=minimum,
        above=above,
        required=required,
        identity=identity,
    )
    return dataclasses.field(default=default, metadata=metadata)


def _where(default: Any, help_text: str, **limits: Any) -> Any:
    """An option that says where or how a run happens, never what it computes."""
    return option(default, help_text, identity=False, **limits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all option sets: checks itself when made.

    Raises:
        UsageError: a value outside its limits; the message names flag, value and limits.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    def identity(self) -> dict[str, Any]:
        """The options that make a run what it is."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.metadata['identity']
        }

    def identity_hash(self) -> str:
        """Twelve hexadecimal digits that differ when any identity option differs."""
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """What `bin/train.py` needs to know; the defaults are the paper's (Algorithm 1, Table 6)."""

    method: str = option('flexae', 'Method to train.', choices=METHODS)
    workdir: str | None = _where(None, 'Folder of this run; the same command again resumes it.')
    seed: int = option(0, 'Seed of initial weights, batches and noise.', minimum=0)

    dataset: str = option('digits', 'Data set to train on.', choices=DATASETS)
    data_dir: str | None = _where(
        None,
        'Folder of the data: of tensorflow-datasets, or of your own pictures (--dataset=folder), '
        'or an .npz file.',
    )
    download: bool = _where(False, 'Let tensorflow-datasets download what is missing.')
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
        'auto', 'Row of Tables 5-6 to build; auto takes the nearest image size.', choices=NETWORKS
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

    training_steps: int = _where(130_000, 'Train until this iteration.', minimum=1)
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
    ae_learning_rate: float = option(1e-3, 'Adam rate of the auto-encoder step.', above=0.0)
    critic_learning_rate: float = option(1e-4, 'Adam rate of the critic step.', above=0.0)
    gen_learning_rate: float = option(5e-4, 'Adam rate of the P-GEN step.', above=0.0)
    enc_learning_rate: float = option(1e-5, 'Adam rate of the adversarial encoder step.', above=0.0)

    precision: str = option(
        'tf32',
        'float32, tf32 (float32 with TensorFloat-32 products, GPU only), or mixed_bfloat16 in '
        'encoder and decoder.',
        choices=('float32', 'tf32', 'mixed_bfloat16'),
    )
    jit_compile: bool = _where(False, 'Compile the iteration with XLA (one device only).')
    device: str = _where(
        'auto',
        'auto uses every GPU there is; gpu fails when there is none.',
        choices=('auto', 'gpu', 'cpu'),
    )

    log_every_steps: int = _where(100, 'Log losses this often.', minimum=1)
    sample_every_steps: int = _where(
        1000, 'Write image grids and latent and validation statistics this often.', minimum=1
    )
    eval_every_steps: int = _where(
        0, 'Add Frechet distances on validation data this often (0: never).', minimum=0
    )
    save_every_steps: int = _where(1000, 'Write a checkpoint this often.', minimum=1)
    keep_checkpoints: int = _where(3, 'Rolling checkpoints to keep.', minimum=1)
    snapshot_steps: int = _where(
        10_000, 'Keep the weights alone this often, for later choice (0: never).', minimum=0
    )
    dry_run: bool = _where(False, 'Print what would be run and what it needs, then stop.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """What `bin/evaluate.py` needs to know."""

    workdir: str | None = _where(None, 'Folder of the trained run.', required=True)
    checkpoint: str = option('last', 'last, or the step of a checkpoint or snapshot.')
    data_dir: str | None = _where(None, "Folder of the data; the run's own when not given.")
    features: str = option(
        'pixels', 'What distances are measured on.', choices=('pixels', 'inception')
    )
    feature_layer: str = option(
        'pool_3', 'Output of the Inception network.', choices=('pool_3', 'mixed_7')
    )
    inception_path: str | None = _where(
        None, "SavedModel folder of the network; TF-GAN's own from its hub when not given."
    )
    num_examples: int = option(
        10_000, 'Images on each side, at most (the test split may be smaller).', minimum=2
    )
    sample_seed: int = option(0, 'Seed of the generated images.', minimum=0)
    batch_size: int = _where(50, 'Images per call of the networks.', minimum=1)
    device: str = _where('auto', 'auto, gpu or cpu.', choices=('auto', 'gpu', 'cpu'))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(Options):
    """What `bin/sample.py` needs to know."""

    source: str | None = _where(None, "A run's workdir, or an exported SavedModel.", required=True)
    checkpoint: str = option('last', 'last, or the step of a checkpoint or snapshot of a workdir.')
    num_samples: int = option(64, 'Images to sample.', minimum=1)
    sample_seed: int = option(0, 'Seed of the samples: the same seed, the same images.', minimum=0)
    output: str | None = _where(
        None, 'File to write: .png for a grid, .npz for the arrays.', required=True
    )
    batch_size: int = _where(256, 'Images per call of the decoder.', minimum=1)
    device: str = _where('auto', 'auto, gpu or cpu.', choices=('auto', 'gpu', 'cpu'))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """What `bin/export.py` needs to know."""

    workdir: str | None = _where(None, 'Folder of the trained run.', required=True)
    checkpoint: str = option('last', 'last, or the step of a checkpoint or snapshot.')
    export_dir: str | None = _where(
        None, 'Folder of the SavedModel; WORKDIR/export/STEP when not given.'
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(TrainConfig):
    """What `bin/benchmark.py` needs to know: a training, and how much of it to time."""

    iterations: int = _where(10, 'Iterations to time.', minimum=1)
    warmup: int = _where(2, 'Iterations before them, the compilation included.', minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """What `bin/doctor.py` needs to know."""

    data_dir: str | None = _where(None, 'Folder of tensorflow-datasets to look into.')
    inception_path: str | None = _where(
        None, "SavedModel folder of the network; TF-GAN's own from its hub when not given."
    )
    device: str = _where('auto', 'auto, gpu or cpu.', choices=('auto', 'gpu', 'cpu'))


def _check(field: dataclasses.Field, value: Any) -> None:
    limits = field.metadata
    if value is None:
        if limits['required']:
            raise UsageError(f'--{field.name} is needed: {limits["help"]}')
        return
    if limits['choices'] and value not in limits['choices']:
        choices = ', '.join(limits['choices'])
        raise UsageError(f'--{field.name}={value}: choose one of {choices}')
    if limits['minimum'] is not None and not value >= limits['minimum']:
        raise UsageError(f'--{field.name}={value}: must be at least {limits["minimum"]}')
    if limits['above'] is not None and not value > limits['above']:
        raise UsageError(f'--{field.name}={value}: must be above {limits["above"]}')


_DEFINE = {
    'int': flags.DEFINE_integer,
    'float': flags.DEFINE_float,
    'bool': flags.DEFINE_boolean,
    'str': flags.DEFINE_string,
}


def define_flags(options: type[Options], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each option of a dataclass."""
    for field in dataclasses.fields(options):
        define = _DEFINE[field.type.removesuffix(' | None')]
        text = field.metadata['help']
        if field.metadata['choices']:
            text += f' <{"|".join(field.metadata["choices"])}>'
        define(field.name, field.default, text, flag_values=flag_values)


def from_flags(options: type[Options], flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """The dataclass filled from parsed flags.

    Raises:
        UsageError: a value outside its limits.
    """
    return options(**{f.name: flag_values[f.name].value for f in dataclasses.fields(options)})


def to_flagfile(config: Options) -> str:
    """The text of a file that gives the same options again with `--flagfile`."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None:
            lines.append(
                f'--{field.name}={str(value).lower() if value in (True, False) else value}'
            )
    return '\n'.join(lines) + '\n'
