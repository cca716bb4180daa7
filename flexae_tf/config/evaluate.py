"""Options of `bin/evaluate.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    MAX_BATCH_SIZE,
    MAX_IMAGE_SIZE,
    MAX_SEED,
    cache_dir_option,
    check_one_network,
    checkpoint_step,
    density_option,
    device_option,
    distribution_option,
    feature_layer_option,
    feature_network_option,
    features_option,
    fit_missing_option,
    inception_path_option,
    skip_bad_images_option,
    value_range_option,
)
from flexae_tf.errors import UsageError

SETS = ('reconstructions', 'samples', 'train', 'latents')
RESIZES = ('tf1_bilinear', 'half_pixel_bilinear', 'antialiased_bicubic')

# Options that have no effect without certain others.
_OF_FILES = ('value_range', 'resize_to', 'skip_bad_images')
_OF_MODEL = (
    *('sets', 'checkpoint', 'density', 'fit_missing', 'repeats', 'sample_seed'),
    'recalibrate_batch_norm',
)
_OF_DATA = ('split', 'data_dir')
_NEEDS = {
    **dict.fromkeys(_OF_FILES, 'an option of --fake'),
    **dict.fromkeys(_OF_MODEL, 'an option for the sets of a run, not for --fake'),
    **dict.fromkeys(_OF_DATA, 'needs --workdir or --dataset'),
    'write_statistics': 'needs real examples',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """Options of `bin/evaluate.py`: a run or images of any generator, and what to compute."""

    workdir: str | None = path_option(
        'Folder of a trained run. Its own sets are scored, or --fake under the same protocol.'
    )
    fake: str | None = path_option(
        'Generated images to score: folder, .npz or .npy file. They are compared with the examples '
        'of --workdir or --dataset, with --real, or only with --reference_statistics.'
    )
    real: str | None = path_option('Folder, .npz or .npy file of real images for --fake.')
    dataset: str | None = option(
        None, 'Data set whose examples --fake is compared with, or package.module:NAME.'
    )
    value_range: str | None = value_range_option()
    resize_to: int | None = option(
        None,
        'Crop the images of --real and --fake to their largest centre square and resize them to '
        'this height and width.',
        minimum=4,
        maximum=MAX_IMAGE_SIZE,
    )
    skip_bad_images: bool = skip_bad_images_option()
    output_file: str | None = path_option(
        'File that the requested scores are appended to, known scores included. Scores of a run '
        'are also stored in its workdir, scores of --fake only here.',
    )
    checkpoint: str | None = option(
        None,
        'last, best_validation, late (from 8/13 of the newest step on, as the authors), all, or a '
        'step (default: last; late with --protocol=authors).',
    )
    data_dir: str | None = path_option(
        'Folder of the data (default with --workdir: the folder that the run was trained from).'
    )
    split: str = option(
        'test',
        'Examples of the run or of --dataset that images are compared with.',
        choices=('test', 'validation', 'train'),
    )

    metrics: str | None = option(
        None,
        'Metrics to compute, separated by commas; names or package.module:NAME (default: all that '
        'apply except memorization and transport, which are slow; fd with --protocol=authors).',
        several=True,
    )
    sets: str = option(
        ','.join(SETS),
        'Sets to evaluate, separated by commas: reconstructions, samples, train (training examples '
        'as a practical lower bound), latents (codes compared with the prior).',
        choices=SETS,
        several=True,
    )
    recalibrate_batch_norm: int = option(
        0,
        'Score sets of the run a second time, with averages of batch norm re-estimated from this '
        'number of training batches; 0 uses only the stored averages.',
        minimum=0,
    )
    protocol: str = option(
        'standard',
        'standard: images rounded to uint8, last checkpoint. authors: every fake image stretched '
        'to [0, 1] and not rounded, minimum over late checkpoints, which selects on the test set.',
        choices=('standard', 'authors'),
    )
    minmax_normalize: bool | None = option(
        None, 'Stretch every fake image to [0, 1] (default: as the protocol).'
    )
    quantization: str | None = option(
        None, 'Rounding of fake images (default: as the protocol).', choices=('uint8_round', 'none')
    )
    features: str = features_option()
    feature_layer: str | None = feature_layer_option()
    resize: str = option(
        'tf1_bilinear',
        'Resize of images to the size of the network. FID is defined with tf1_bilinear.',
        choices=RESIZES,
    )
    inception_path: str | None = inception_path_option()
    feature_network: str | None = feature_network_option()
    density: str | None = density_option()
    fit_missing: bool = fit_missing_option()
    num_examples: int = option(10_000, 'Maximum number of images on each side.', minimum=2)
    sample_seed: int = option(0, 'Seed of the samples.', minimum=0, maximum=MAX_SEED)
    repeats: int = option(
        1,
        'Number of sample sets, with consecutive seeds from --sample_seed on.',
        minimum=1,
        maximum=10_000,
    )
    bootstrap: int = option(
        0,
        'Resamples for the standard deviation of Frechet distances; 0 computes none.',
        minimum=0,
        maximum=100_000,
    )
    reference_statistics: str | None = option(
        None,
        'File with mean and covariance of the real features (.npz with mu and sigma), used instead '
        'of the real images.',
        path=True,
    )
    allow_unverified_statistics: bool = option(
        False, 'Accept --reference_statistics of unknown provenance.'
    )
    write_statistics: str | None = path_option(
        'Write mean and covariance of the real features to this .npz file.'
    )
    cache_dir: str | None = cache_dir_option()
    batch_size: int = runtime_option(
        50,
        'Number of images per call of the networks, on each device.',
        minimum=1,
        maximum=MAX_BATCH_SIZE,
    )
    device: str = device_option()
    distribution: str = distribution_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sides()
        if self.checkpoint not in (None, 'best_validation', 'late', 'all'):
            checkpoint_step(self.checkpoint, 'best_validation, late, all')
        if self.checkpoint == 'best_validation' and self.split == 'validation':
            raise UsageError(
                '--checkpoint=best_validation: selected on --split=validation. Use --split=test.'
            )
        check_one_network(self.inception_path, self.feature_network)
        if self.feature_network and self.features != 'auto':
            raise UsageError(
                f'--features={self.features}: --feature_network gives other features. Set only one.'
            )
        if self.feature_network and self.resize != 'tf1_bilinear':
            raise UsageError(
                f'--resize={self.resize}: the declaration of --feature_network sets it. Leave it '
                'out.'
            )
        if self.features == 'pixels':
            for name, default in (
                ('inception_path', None),
                ('feature_layer', None),
                ('resize', 'tf1_bilinear'),
            ):
                if (value := getattr(self, name)) != default:
                    raise UsageError(
                        f'--{name}={value}: not used with --features=pixels. Leave it out.'
                    )
        if self.bootstrap == 1:
            raise UsageError('--bootstrap=1: one resample has no deviation. Use 0, or 2 or more.')
        if self.bootstrap and self.reference_statistics:
            raise UsageError(
                '--bootstrap: resamples features, which --reference_statistics does not hold. '
                'Leave one of both out.'
            )
        if self.allow_unverified_statistics and not self.reference_statistics:
            raise UsageError(
                '--allow_unverified_statistics: needs --reference_statistics. Set both.'
            )

    def metric_names(self) -> list[str]:
        """Returns the requested metrics; empty for all that apply."""
        default = 'fd' if self.protocol == 'authors' else ''
        return list(dict.fromkeys(filter(None, (self.metrics or default).split(','))))

    def _check_sides(self) -> None:
        """Raises `UsageError` unless there is something to score and something to compare with."""
        sides = ('workdir', 'dataset', 'real')
        given = [name for name in sides if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f'--{given[0]} and --{given[1]}: two real sides. Set one of both.')
        if not given and not self.fake:
            raise UsageError('--workdir: needed without --fake. Set one of both.')
        if self.fake is None:
            if not self.workdir:
                raise UsageError(f'--{given[0]}: a real side for --fake. Set both.')
            unused = _OF_FILES
        else:
            if not given and not self.reference_statistics:
                raise UsageError(
                    f'--fake={self.fake}: needs a real side. Set --workdir, --dataset, --real or '
                    '--reference_statistics.'
                )
            unused = _OF_MODEL
            unused += () if self.workdir or self.dataset else _OF_DATA
            unused += () if given else ('write_statistics',)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in unused:
            value = getattr(self, name)
            if value != defaults[name]:
                raise UsageError(f'--{name}={value}: {_NEEDS[name]}. Leave it out.')
        if self.fake and not self.real:
            self._check_treatment()

    def _check_treatment(self) -> None:
        """Raises `UsageError` for a treatment that samples of a run receive before rounding."""
        for name, given in (
            ('protocol', self.protocol == 'authors'),
            ('minmax_normalize', self.minmax_normalize),
            ('quantization', self.quantization == 'none'),
        ):
            if given:
                raise UsageError(
                    f'--{name}={getattr(self, name)}: applies before images are rounded, and '
                    'images of --fake are rounded. Leave it out.'
                )
