"""Options of `bin/sample.py`."""

from __future__ import annotations

import dataclasses
import pathlib

from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    MAX_BATCH_SIZE,
    MAX_SEED,
    checkpoint_option,
    checkpoint_step,
    density_option,
    device_option,
    distribution_option,
    fit_missing_option,
)
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(Options):
    """Options of `bin/sample.py`."""

    source: str | None = path_option('Workdir of a run, or an exported SavedModel.', required=True)
    checkpoint: str = checkpoint_option()
    density: str | None = density_option()
    fit_missing: bool = fit_missing_option()
    data_dir: str | None = path_option(
        'Folder of the data for --fit_missing (default: the folder that the run was trained from).'
    )
    num_samples: int = option(64, 'Number of samples.', minimum=1)
    sample_seed: int = option(
        0,
        'Seed of the samples. The same seed gives the same samples.',
        minimum=0,
        maximum=MAX_SEED,
    )
    output_file: str | None = path_option('File to write: .png for an image grid, .npz for arrays.')
    output_dir: str | None = path_option(
        'Empty or new folder for single images, 000000.png, 000001.png, ..., rounded as in an '
        'evaluation.'
    )
    batch_size: int = runtime_option(
        50,
        'Number of images per call of the decoder, on each device. With the value of '
        'bin/evaluate.py the images are bit-identical to the scored images.',
        minimum=1,
        maximum=MAX_BATCH_SIZE,
    )
    device: str = device_option()
    distribution: str = distribution_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)
        if self.output_file is None and self.output_dir is None:
            raise UsageError('--output_file: needed, unless --output_dir is set. Set one of both.')
        if self.output_file and self.output_dir:
            raise UsageError('--output_file and --output_dir: two outputs. Set only one.')
        if self.data_dir and not self.fit_missing:
            raise UsageError(
                f'--data_dir={self.data_dir}: only --fit_missing reads data. Omit it, or set both.'
            )
        if self.output_file and pathlib.PurePath(self.output_file).suffix not in ('.png', '.npz'):
            raise UsageError(
                f'--output_file={self.output_file}: unknown file type. Use a name that ends in '
                '.png or .npz.'
            )
