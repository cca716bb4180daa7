"""Options of the experiments."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.names import ARTIFACTS, DATASETS, FEATURES, LAYERS, MAX_SEED, SCALES
from flexae_tf.config.options import Options, option, path_option, runtime_option
from flexae_tf.config.shared import CACHE_HELP, INCEPTION_HELP, device_option
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Options):
    """What `bin/reproduce.py` needs to know."""

    artifact: str | None = option(
        None,
        'Comma-separated, what of the paper is reproduced: its runs are trained and scored, and it '
        f'is rendered; of {",".join(ARTIFACTS)}, or all.',
    )
    tune: str | None = option(
        None,
        'Method whose open weight is chosen: one training for each value of a small grid, scored '
        'on validation examples.',
    )
    dataset: str | None = option(
        None,
        "Data set of the runs; with --artifact all of the scale's when not given.",
        choices=DATASETS,
    )
    values: str | None = option(
        None,
        "With --tune, comma-separated numbers, in place of the grid's; factors where the grid has "
        'factors.',
    )
    options: str | None = option(
        None,
        'With --tune and --values, comma-separated training options that get the values, in place '
        "of the grid's: what else a short training may want, such as ae_learning_rate.",
    )
    scale: str = option(
        'paper',
        'paper: the flagfiles as they are. small: a miniature for two CPU cores, with an eighth of '
        'the channels, 3000 iterations, MNIST alone, and scores of 5000 examples; synthetic data '
        'have their full size.',
        choices=SCALES,
    )
    training_steps: int | None = option(
        None, "Train until this iteration; the scale's when not given.", minimum=1
    )
    seed: int = option(0, 'Seed of the runs, the first of several.', minimum=0, maximum=MAX_SEED)
    seeds: int | None = option(
        None,
        'With --artifact, runs of each method, with seeds that follow --seed; three of some and '
        'one of others when not given.',
        minimum=1,
    )
    num_examples: int | None = option(
        None, "Examples on each side of a score, at most; the scale's when not given.", minimum=2
    )
    features: str = option(
        'auto',
        'What images are compared by; auto: inception for images, the values for vectors.',
        choices=FEATURES,
    )
    feature_layer: str = option('pool_3', 'Output of the Inception network.', choices=LAYERS)

    output_dir: str | None = path_option(
        'Folder of the runs and of what comes of them; the same again resumes.'
    )
    dry_run: bool = runtime_option(
        False,
        'Print the runs, their commands, how far they are, and what they need of time and disk; '
        'train nothing.',
    )
    render: bool = runtime_option(False, 'Render from the scores that are there; run nothing.')
    report: bool = runtime_option(
        False, 'With --artifact, write OUTPUT/report.html of what is rendered.'
    )
    save_results: bool = runtime_option(
        False,
        'With --artifact, keep the scores among the records that come with the package, and fill '
        'the tables of README.md from these.',
    )
    use_saved_results: bool = runtime_option(
        False,
        'With --artifact, take the scores that come with the package for runs that are the same in '
        'every option, and run only the others.',
    )
    shard: str = runtime_option(
        '1/1', 'With --artifact, 2/8 takes the second eighth of the runs, for several machines.'
    )
    data_dir: str | None = path_option('Folder of the data, as for `bin/train.py`.')
    download: bool = runtime_option(False, 'Let tensorflow-datasets download what is missing.')
    inception_path: str | None = path_option(INCEPTION_HELP)
    cache_dir: str | None = path_option(CACHE_HELP)
    device: str = device_option()
    jit_compile: bool = runtime_option(False, 'Compile the trainings with XLA (one device only).')

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.artifact is None) == (self.tune is None):
            raise UsageError('--artifact is needed, or --tune: give one of the two')
        if self.output_dir is None:
            raise UsageError(
                '--output_dir is needed: the folder of the runs and what comes of them'
            )
        if self.tune and self.dataset is None:
            raise UsageError(f'--dataset is needed with --tune={self.tune}: on what is it trained?')
        for name in ('render', 'report', 'save_results', 'use_saved_results', 'seeds'):
            if self.tune and getattr(self, name):
                raise UsageError(f'--{name} goes with --artifact: leave it out')
        if self.tune and self.shard != '1/1':
            raise UsageError(
                f'--shard={self.shard} goes with --artifact: the same --tune and --output_dir on '
                'several machines share its runs'
            )
        if self.values and not self.tune:
            raise UsageError(f'--values={self.values} goes with --tune: leave it out')
        if self.artifact:
            names = ARTIFACTS if self.artifact == 'all' else self.artifact.split(',')
            for name in names:
                if name not in ARTIFACTS:
                    raise UsageError(f'--artifact={name}: choose of {", ".join(ARTIFACTS)}, all')
            object.__setattr__(self, 'artifact', ','.join(dict.fromkeys(names)))
        for value in self.values.split(',') if self.values else ():
            try:
                float(value)
            except ValueError:
                raise UsageError(
                    f'--values={self.values}: {value!r} is no number; write them as 0.1,0.2'
                ) from None
        if self.options and not self.values:
            raise UsageError(f'--options={self.options} needs --values: which are tried?')
        self.share()

    def only(self, artifact: str) -> ReproduceConfig:
        """The same for all runs of one artifact."""
        return dataclasses.replace(self, artifact=artifact, shard='1/1')

    def share(self) -> tuple[int, int]:
        """(index from 0, count) of `shard`."""
        index, _, count = self.shard.partition('/')
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise UsageError(f'--shard={self.shard}: give 2/8 for the second of eight')
        return int(index) - 1, int(count)
