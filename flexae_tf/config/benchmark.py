"""Options of `bin/benchmark.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import runtime_option
from flexae_tf.config.shared import feature_layer_option, inception_path_option
from flexae_tf.config.train import TrainConfig
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(TrainConfig):
    """Options of `bin/benchmark.py`: a training, and how much of it to time."""

    subject: str = runtime_option(
        'training',
        'What to time. training: one training. methods: one training step of every method, with '
        'the values of its flagfile. metrics: every metric on 2 x 10000 random features of 2048 '
        'dimensions. network: the Inception network. communication: counts what devices exchange '
        'in a training step, and predicts its time; needs one CPU. turns: one training, a step '
        'for each line of standard input; started by --compare.',
        choices=('training', 'methods', 'metrics', 'network', 'communication', 'turns'),
    )
    compare: str | None = runtime_option(
        None,
        'Flags of variants of the training, separated by a semicolon: "--batch_size=64; '
        '--batch_size=128". Each variant has its own process; they take turns.',
    )
    json: bool = runtime_option(False, 'Print the report as one line of JSON.')
    inception_path: str | None = inception_path_option()
    feature_layer: str | None = feature_layer_option(identity=False)
    iterations: int = runtime_option(
        10,
        'Rounds, in each of which everything is timed once; 0 with --subject=methods prints only '
        'sizes. Metrics have one round.',
        minimum=0,
    )
    warmup: int = runtime_option(
        2, 'Training steps between the compilation and the timed steps.', minimum=1
    )
    step_seconds: float | None = runtime_option(
        None,
        'Seconds of a training step on one device with its share of the batch; '
        '--subject=communication predicts the efficiency from them.',
        above=0.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.iterations and self.subject in ('training', 'network'):
            raise UsageError(
                '--iterations=0: nothing to time. Use 1 or more, or --subject=methods.'
            )
        for flag, given in (
            (f'--replay_step={self.replay_step}', self.replay_step is not None),
            ('--dry_run', self.dry_run),
        ):
            if given:
                raise UsageError(f'{flag}: trains nothing that could be timed. Use bin/train.py.')
        if self.compare and self.subject != 'training':
            raise UsageError(
                f'--compare: compares trainings, not {self.subject}. Leave --subject out.'
            )
