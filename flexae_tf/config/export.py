"""Options of `bin/export.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, path_option
from flexae_tf.config.shared import (
    checkpoint_option,
    checkpoint_step,
    density_option,
    device_option,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """Options of `bin/export.py`."""

    workdir: str | None = path_option('Folder of the trained run.', required=True)
    checkpoint: str = checkpoint_option()
    density: str | None = density_option()
    export_dir: str | None = path_option(
        'Folder of the SavedModel (default: WORKDIR/export/STEP, or STEP-DENSITY with --density).'
    )
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)
