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
        'dimensions. network: the Inception network.',
        choices=('training', 'methods', 'metrics', 'network'),
    )
    inception_path: str | None = inception_path_option()
    feature_layer: str | None = feature_layer_option(identity=False)
    iterations: int = runtime_option(
        10, 'Training steps to time; 0 with --subject=methods prints only sizes.', minimum=0
    )
    warmup: int = runtime_option(
        2, 'Training steps before the timed steps, compilation included.', minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.iterations and self.subject == 'training':
            raise UsageError(
                '--iterations=0: no training step to time. Use 1 or more, or --subject=methods.'
            )
