"""Options of scoring."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.names import FEATURES, MAX_SEED, RESIZES
from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    CACHE_HELP,
    INCEPTION_HELP,
    checkpoint_step,
    density_option,
    device_option,
)
from flexae_tf.errors import UsageError

SETS = ('reconstructions', 'samples', 'train', 'latents')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """What `bin/evaluate.py` needs to know."""

    workdir: str | None = path_option('Folder of the trained run.')
    real: str | None = path_option(
        'Instead of a run: a folder or .npz of real pictures, scored against --fake.'
    )
    fake: str | None = path_option('A folder or .npz of generated pictures.')
    output_file: str | None = path_option(
        'Append the scores to this file. Those of a run are in its workdir anyway: this file gets '
        'what was asked for, recorded before or not.',
    )
    checkpoint: str | None = option(
        None,
        'last, best_validation, late (from 8/13 of the newest step on, which the authors choose '
        'from), all, or a step; last when not given, late with --protocol=authors.',
    )
    data_dir: str | None = path_option("Folder of the data; the run's own when not given.")
    split: str = option(
        'test', 'What the run is compared with.', choices=('test', 'validation', 'train')
    )

    metrics: str | None = option(
        None,
        'Comma-separated: fd, kid, prd, precision_recall, density_coverage, fd_infinity, '
        'inception_score, codes, critic, or package.module:NAME (default: all that apply; fd with '
        '--protocol=authors).',
    )
    sets: str = option(
        ','.join(SETS),
        'Comma-separated sets to score: reconstructions, samples and training examples by these '
        'metrics, latents (codes against the prior) by the metrics of codes.',
    )
    protocol: str = option(
        'standard',
        'standard: uint8 images, last checkpoint. authors: each fake stretched to [0, 1] and not '
        'rounded, and the minimum over late checkpoints, which selects on the test set.',
        choices=('standard', 'authors'),
    )
    minmax_normalize: bool | None = option(
        None, "Stretch each fake to fill [0, 1]; the protocol's choice."
    )
    quantization: str | None = option(
        None, "Rounding of fakes; the protocol's choice.", choices=('uint8_round', 'none')
    )
    features: str = option(
        'auto',
        'What images are compared by; auto: inception for images, the values for vectors.',
        choices=FEATURES,
    )
    feature_layer: str = option('pool_3', 'Any output of the network at --inception_path.')
    resize: str = option(
        'tf1_bilinear',
        "How images get to the network's size; tf1_bilinear is what FID means.",
        choices=RESIZES,
    )
    inception_path: str | None = path_option(INCEPTION_HELP)
    density: str | None = density_option()
    fit_missing: bool = runtime_option(
        False, 'Fit a missing density first, as bin/fit.py does with its default flags.'
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
    reference_statistics: str | None = option(
        None,
        'File of mean and covariance (.npz with mu, sigma) that stands for the real images.',
        path=True,
    )
    allow_unverified_statistics: bool = option(
        False, 'Take --reference_statistics that do not say what they were made of.'
    )
    write_statistics: str | None = path_option(
        'Write mean and covariance of the real images to this .npz file.'
    )
    cache_dir: str | None = path_option(CACHE_HELP)
    batch_size: int = runtime_option(50, 'Images per call of the networks.', minimum=1)
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.workdir is None) == (self.real is None):
            raise UsageError('--workdir is needed, or --real and --fake: give one of the two')
        if (self.real is None) != (self.fake is None):
            raise UsageError('--real and --fake go together: give both')
        if self.real and self.checkpoint:
            raise UsageError(f'--checkpoint={self.checkpoint}: pictures have none; leave it out')
        if self.real and self.density:
            raise UsageError(f'--density={self.density}: images from files have no codes. Omit it.')
        if self.checkpoint not in (None, 'best_validation', 'late', 'all'):
            checkpoint_step(self.checkpoint, 'best_validation, late, all')
        for name in self.sets.split(','):
            if name not in SETS:
                raise UsageError(f'--sets={name}: unknown set. Choose from {", ".join(SETS)}.')
        if self.bootstrap == 1:
            raise UsageError('--bootstrap=1: one resample has no deviation; give 2 or more, or 0')
        if self.checkpoint == 'best_validation' and self.split == 'validation':
            raise UsageError('--checkpoint=best_validation was chosen by --split=validation: test')
        if self.real and self.repeats > 1:
            raise UsageError(f'--repeats={self.repeats}: pictures are one set; leave it out')
        if self.bootstrap and self.reference_statistics:
            raise UsageError('--bootstrap resamples features: --reference_statistics has none')
        if self.allow_unverified_statistics and not self.reference_statistics:
            raise UsageError(
                '--allow_unverified_statistics: of which file? give --reference_statistics'
            )
