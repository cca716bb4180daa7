"""Options of `bin/compare.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.evaluate import SETS
from flexae_tf.config.options import Options, path_option, positional_option, runtime_option
from flexae_tf.errors import UsageError

FILES = ('.md', '.csv')


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig(Options):
    """Options of `bin/compare.py`."""

    runs: tuple[str, ...] = positional_option(
        'RUN', 'Workdir of a run, or a file of scores as --output_file of bin/evaluate.py.'
    )
    metrics: str | None = runtime_option(
        None,
        'Metrics to show, separated by commas, as for bin/evaluate.py (default: all).',
        several=True,
    )
    sets: str = runtime_option(
        ','.join(SETS),
        'Sets whose scores are shown, separated by commas. Images from files are samples.',
        choices=SETS,
        several=True,
    )
    output_file: str | None = path_option(
        'File to write: .md for the printed tables, .csv for one line per score.'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_file and not self.output_file.endswith(FILES):
            raise UsageError(
                f'--output_file={self.output_file}: unknown file type. Use a name that ends in '
                f'{" or ".join(FILES)}.'
            )
