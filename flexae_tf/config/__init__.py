"""Options of all programs: default, help text and limits of each, in one place.

The options of a program are a frozen dataclass with the same checks for flags and for Python code.
Nothing here imports TensorFlow.
"""

from flexae_tf.config.benchmark import BenchmarkConfig
from flexae_tf.config.compare import CompareConfig
from flexae_tf.config.doctor import DoctorConfig
from flexae_tf.config.evaluate import RESIZES, EvaluateConfig
from flexae_tf.config.export import ExportConfig
from flexae_tf.config.fit import FitConfig
from flexae_tf.config.reproduce import ReproduceConfig
from flexae_tf.config.sample import SampleConfig
from flexae_tf.config.shared import checkpoint_step
from flexae_tf.config.train import DIVERGENCES, ResolvedConfig, TrainConfig

__all__ = [
    'DIVERGENCES',
    'RESIZES',
    'BenchmarkConfig',
    'CompareConfig',
    'DoctorConfig',
    'EvaluateConfig',
    'ExportConfig',
    'FitConfig',
    'ReproduceConfig',
    'ResolvedConfig',
    'SampleConfig',
    'TrainConfig',
    'checkpoint_step',
]
