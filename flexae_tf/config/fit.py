"""Options of `bin/fit.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import checkpoint_option, checkpoint_step, device_option


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig(Options):
    """Options of `bin/fit.py`."""

    workdir: str | None = path_option('Folder of the trained run.', required=True)
    checkpoint: str = checkpoint_option()
    density: str | None = option(
        None,
        "Density to fit to the codes of the training examples (default: the method's own density).",
    )
    density_steps: int | None = runtime_option(
        None,
        'Training steps of second_stage (default: 400 epochs) or latent_gan (default: as many as '
        'the run has).',
        minimum=1,
    )
    data_dir: str | None = path_option(
        'Folder of the data (default: the folder that the run was trained from).'
    )
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        checkpoint_step(self.checkpoint)
