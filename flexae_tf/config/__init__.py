"""Every option of every program, written once: default, help text and limits.

The options of a program are a frozen dataclass, checked the same whether it is filled from flags or
in a notebook. Nothing here imports TensorFlow.
"""

from flexae_tf.config.evaluate import EvaluateConfig
from flexae_tf.config.fit import FitConfig
from flexae_tf.config.names import (
    CODES,
    DATASETS,
    DENSITIES,
    DIVERGENCES,
    METHODS,
    METRICS,
    RESIZES,
    STAGES,
)
from flexae_tf.config.others import DoctorConfig, ExportConfig, SampleConfig
from flexae_tf.config.reproduce import ReproduceConfig
from flexae_tf.config.shared import checkpoint_step
from flexae_tf.config.train import BenchmarkConfig, TrainConfig

__all__ = [
    'CODES',
    'DATASETS',
    'DIVERGENCES',
    'DENSITIES',
    'METHODS',
    'METRICS',
    'RESIZES',
    'STAGES',
    'BenchmarkConfig',
    'DoctorConfig',
    'EvaluateConfig',
    'ExportConfig',
    'FitConfig',
    'ReproduceConfig',
    'SampleConfig',
    'TrainConfig',
    'checkpoint_step',
]
