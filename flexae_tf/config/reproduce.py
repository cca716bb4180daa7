"""Options of `bin/reproduce.py`."""

from __future__ import annotations

import dataclasses
import os
import re

from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import (
    MAX_SEED,
    cache_dir_option,
    device_option,
    feature_layer_option,
    features_option,
    inception_path_option,
    jit_compile_option,
)
from flexae_tf.errors import UsageError
from flexae_tf.files import local_path

ARTIFACTS = (
    *('table1', 'table2', 'table3'),
    *(f'fig{i}' for i in range(2, 13)),
    *('theorem1', 'theorem2', 'reconstructions', 'batch_norm', 'joint', 'methods'),
)
SAMPLE_ARTIFACTS = ('table1', 'table2', 'methods')  # tables that can have rows of samples
# Options that have no meaning with --tune.
ARTIFACT_OPTIONS = (
    *('render', 'report', 'save_results', 'use_saved_results'),
    *('methods', 'shard', 'tuned'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Options):
    """Options of `bin/reproduce.py`: either artifacts of the paper, or a method to tune."""

    artifact: str | None = option(
        None,
        f'Artifacts to reproduce, separated by commas: {",".join(ARTIFACTS)}, or all. Their runs '
        'are trained and evaluated, then rendered.',
    )
    tune: str | None = option(
        None,
        'Method whose open weights are selected: one training per value of a small grid, evaluated '
        'on validation examples.',
    )
    methods: str | None = option(
        None,
        'Methods to include, separated by commas (default: all methods of the artifact). '
        f'NAME=SAMPLES adds a row to {", ".join(SAMPLE_ARTIFACTS)}: scores of samples in a folder '
        'or file, as for --fake of bin/evaluate.py.',
        several=True,
    )
    dataset: str | None = option(
        None, 'Data set of the runs (default with --artifact: all data sets of the scale).'
    )
    grid: str | None = option(
        None,
        'With --tune: values to try, as NAME=VALUE,VALUE;NAME=VALUE,VALUE with training options as '
        'names (default: the grid of the method). All combinations are tried.',
    )
    finalists: int | None = option(
        None,
        'With --tune and --seeds: number of best values of the first seed that get the other '
        'seeds (default: all).',
        minimum=1,
    )
    tuned: str | None = path_option(
        'With --artifact: folder with the winners of --tune (tune/ in its --output_dir), which are '
        'used for the runs of the same method, data set and scale.'
    )
    scale: str = option(
        'paper',
        'paper: the flagfiles (Fig. 5: 30000 training steps). small: a miniature for two CPU '
        'cores, with an eighth of the channels, 3000 training steps, MNIST (for some artifacts '
        'CIFAR-10, too), and scores of 5000 examples; synthetic data keep their full size. medium: '
        'the same with 40000 training steps (Fig. 5: 30000). smoke: a few iterations of tiny '
        'networks, to test programs.',
        choices=('paper', 'medium', 'small', 'smoke'),
    )
    training_steps: int | None = option(
        None, 'Train until this step (default: as the scale).', minimum=1
    )
    seed: int = option(0, 'Seed of the runs; the first of several.', minimum=0, maximum=MAX_SEED)
    seeds: int | None = option(
        None,
        'Number of runs per method, or per value of --tune, with consecutive seeds from --seed on '
        '(default: as the artifact, three or one; one with --tune).',
        minimum=1,
    )
    num_examples: int | None = option(
        None,
        'Maximum number of examples on each side of a score (default: as the scale).',
        minimum=2,
    )
    features: str = features_option()
    feature_layer: str | None = feature_layer_option()

    output_dir: str | None = path_option(
        'Folder of the runs and their artifacts. The same command resumes.', required=True
    )
    dry_run: bool = runtime_option(
        False, 'Print the runs, their commands, state, time and disk space; train nothing.'
    )
    render: bool = runtime_option(False, 'Render from the existing scores; run nothing.')
    report: bool = runtime_option(
        False, 'With --artifact: write OUTPUT_DIR/report.html with everything that is rendered.'
    )
    save_results: bool = runtime_option(
        False,
        'With --artifact: store the scores in the package and regenerate its tables of results.',
    )
    use_saved_results: bool = runtime_option(
        False,
        'With --artifact: use the scores stored in the package for runs with the same options, '
        'and run only the others.',
    )
    shard: str = runtime_option(
        '1/1', 'With --artifact: part of the runs, for several machines; 2/8 is the second eighth.'
    )
    data_dir: str | None = path_option('Folder of the data, as for bin/train.py.')
    download: bool = runtime_option(False, 'Download a missing data set with tensorflow-datasets.')
    inception_path: str | None = inception_path_option()
    cache_dir: str | None = cache_dir_option()
    device: str = device_option()
    jit_compile: str = jit_compile_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.artifact is None) == (self.tune is None):
            raise UsageError('--artifact: needed, unless --tune is set. Set one of both.')
        self._check_artifacts() if self.artifact else self._check_tune()
        self.share()

    def _check_artifacts(self) -> None:
        names = ARTIFACTS if self.artifact == 'all' else self.artifact.split(',')
        for name in names:
            if name not in ARTIFACTS:
                raise UsageError(
                    f'--artifact={name}: unknown. Choose from {", ".join(ARTIFACTS)}, all.'
                )
        object.__setattr__(self, 'artifact', ','.join(dict.fromkeys(names)))
        for name in ('grid', 'finalists'):
            if getattr(self, name):
                raise UsageError(f'--{name}: needs --tune, not --artifact. Leave it out.')
        for name in self.samples():
            if not re.fullmatch(r'[\w.-]+', name):
                raise UsageError(f'--methods={name}=...: invalid name. Use letters and digits.')
            others = set(names) - set(SAMPLE_ARTIFACTS)
            if others:
                raise UsageError(
                    f'--methods={name}=...: {min(others)} has no rows of samples. Choose from '
                    f'{", ".join(SAMPLE_ARTIFACTS)}.'
                )

    def _check_tune(self) -> None:
        if self.dataset is None:
            raise UsageError(f'--dataset: needed with --tune={self.tune}. Set it.')
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ARTIFACT_OPTIONS:
            if getattr(self, name) != defaults[name]:
                raise UsageError(f'--{name}: needs --artifact, not --tune. Leave it out.')
        if self.finalists and not self.seeds:
            raise UsageError(f'--finalists={self.finalists}: needs --seeds. Set both.')

    def method_names(self) -> list[str]:
        """Returns the methods of `methods`."""
        return [item for item in (self.methods or '').split(',') if item and '=' not in item]

    def samples(self) -> dict[str, str]:
        """Returns the absolute paths of the rows NAME=SAMPLES of `methods`, by name."""
        rows = [item.partition('=') for item in (self.methods or '').split(',') if '=' in item]
        return {n: os.path.abspath(local_path(f'--methods={n}', path)) for n, _, path in rows}

    def only(self, artifact: str) -> ReproduceConfig:
        """Returns the options for all runs of one artifact."""
        return dataclasses.replace(self, artifact=artifact, shard='1/1')

    def share(self) -> tuple[int, int]:
        """Returns (index from 0, count) of `shard`."""
        index, _, count = self.shard.partition('/')
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise UsageError(f'--shard={self.shard}: invalid. Use 2/8 for the second of eight.')
        return int(index) - 1, int(count)
