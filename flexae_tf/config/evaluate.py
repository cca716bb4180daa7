"""Options of `bin/evaluate.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    MAX_SEED,
    cache_dir_option,
    checkpoint_step,
    density_option,
    device_option,
    feature_layer_option,
    features_option,
    fit_missing_option,
    inception_path_option,
    skip_bad_images_option,
    value_range_option,
)
from flexae_tf.errors import UsageError

SETS = ('reconstructions', 'samples', 'train', 'latents')
RESIZES = ('tf1_bilinear', 'half_pixel_bilinear', 'antialiased_bicubic')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """Options of `bin/evaluate.py`: a run or two sets of images, and what to compute."""

    workdir: str | None = path_option('Folder of the trained run.')
    real: str | None = path_option(
        'Without a run: folder or .npz file of real images, compared with --fake.'
    )
    fake: str | None = path_option('Folder or .npz file of generated images.')
    value_range: str | None = value_range_option()
    resize_to: int | None = option(
        None,
        'Crop the images of --real and --fake to their largest centre square and resize them to '
        'this height and width.',
        minimum=4,
    )
    skip_bad_images: bool = skip_bad_images_option()
    output_file: str | None = path_option(
        'File that the requested scores are appended to, known scores included. The scores of a '
        'run are also stored in its workdir.',
    )
    checkpoint: str | None = option(
        None,
        'last, best_validation, late (from 8/13 of the newest step on, as the authors), all, or a '
        'step (default: last; late with --protocol=authors).',
    )
    data_dir: str | None = path_option(
        'Folder of the data (default: the folder that the run was trained from).'
    )
    split: str = option(
        'test', 'Examples that the run is compared with.', choices=('test', 'validation', 'train')
    )

    metrics: str | None = option(
        None,
        'Metrics to compute, separated by commas; names or package.module:NAME (default: all that '
        'apply; fd with --protocol=authors).',
        several=True,
    )
    sets: str = option(
        ','.join(SETS),
        'Sets to evaluate, separated by commas: reconstructions, samples, train (training examples '
        'as a practical lower bound), latents (codes compared with the prior).',
        choices=SETS,
        several=True,
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
    feature_layer: str = feature_layer_option()
    resize: str = option(
        'tf1_bilinear',
        'Resize of images to the size of the network. FID is defined with tf1_bilinear.',
        choices=RESIZES,
    )
    inception_path: str | None = inception_path_option()
    density: str | None = density_option()
    fit_missing: bool = fit_missing_option()
    num_examples: int = option(10_000, 'Maximum number of images on each side.', minimum=2)
    sample_seed: int = option(0, 'Seed of the samples.', minimum=0, maximum=MAX_SEED)
    repeats: int = option(
        1, 'Number of sample sets, with consecutive seeds from --sample_seed on.', minimum=1
    )
    bootstrap: int = option(
        0,
        'Resamples for the standard deviation of Frechet distances; 0 computes none.',
        minimum=0,
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
    batch_size: int = runtime_option(50, 'Number of images per call of the networks.', minimum=1)
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.workdir is None) == (self.real is None):
            raise UsageError('--workdir: needed without --real and --fake. Set one of both.')
        if (self.real is None) != (self.fake is None):
            raise UsageError('--real and --fake: needed together. Set both.')
        if self.real:
            self._check_images()
        if self.checkpoint not in (None, 'best_validation', 'late', 'all'):
            checkpoint_step(self.checkpoint, 'best_validation, late, all')
        if self.checkpoint == 'best_validation' and self.split == 'validation':
            raise UsageError(
                '--checkpoint=best_validation: selected on --split=validation. Use --split=test.'
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

    def _check_images(self) -> None:
        """Raises `UsageError` for options that need a run."""
        for name, given in (
            ('checkpoint', self.checkpoint),
            ('density', self.density),
            ('fit_missing', self.fit_missing),
            ('repeats', self.repeats > 1),
        ):
            if given:
                value = getattr(self, name)
                raise UsageError(
                    f'--{name}={value}: needs --workdir, not --real and --fake. Leave it out.'
                )
