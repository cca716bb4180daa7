"""Options of the programs that only use what was trained, and of the experiments."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.names import MAX_SEED
from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    CACHE_HELP,
    INCEPTION_HELP,
    checkpoint_option,
    checkpoint_step,
    density_option,
    device_option,
)
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(Options):
    """What `bin/sample.py` needs to know."""

    source: str | None = path_option("A run's workdir, or an exported SavedModel.", required=True)
    checkpoint: str = checkpoint_option()
    density: str | None = density_option()
    fit_missing: bool = runtime_option(
        False, 'Fit a missing density first, as bin/fit.py does with its default flags.'
    )
    num_samples: int = option(64, 'Images to sample.', minimum=1)
    sample_seed: int = option(
        0, 'Seed of the samples: the same seed, the same images.', minimum=0, maximum=MAX_SEED
    )
    output_file: str | None = path_option(
        'File to write: .png for a grid, .npz for the arrays.', required=True
    )
    batch_size: int = runtime_option(256, 'Images per call of the decoder.', minimum=1)
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)
        if not self.output_file.endswith(('.png', '.npz')):
            raise UsageError(
                f'--output_file={self.output_file}: give a file that ends in .png or .npz'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """What `bin/export.py` needs to know."""

    workdir: str | None = path_option('Folder of the trained run.', required=True)
    checkpoint: str = checkpoint_option()
    density: str | None = density_option()
    export_dir: str | None = path_option(
        'Folder of the SavedModel; when not given WORKDIR/export/STEP, or STEP-DENSITY with '
        '--density.'
    )
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """What `bin/doctor.py` needs to know."""

    data_dir: str | None = path_option('Folder of tensorflow-datasets to look into.')
    inception_path: str | None = path_option(INCEPTION_HELP)
    cache_dir: str | None = path_option(CACHE_HELP)
    device: str = device_option()
