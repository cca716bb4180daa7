"""Methods: generative auto-encoders, one class per training algorithm and one table of rows.

Importing this package does not import TensorFlow; `build_method` does.
"""

from typing import Any

from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.resolve import resolve
from flexae_tf.methods.table import AUTOENCODERS, METHODS, MethodSpec, config_class, find

__all__ = [
    'AUTOENCODERS',
    'METHODS',
    'MethodSpec',
    'build_method',
    'config_class',
    'find',
    'resolve',
    'set_precision',
]

KERAS = ('tensorflow', 'channels_last', 'float32')  # backend, order of axes, type of numbers


def build_method(config: ResolvedConfig, spec: DatasetSpec) -> Any:
    """Builds an untrained method.

    Args:
        config: result of `resolve`.
        spec: the examples, for example from `data.describe`.

    Returns:
        A `flexae_tf.methods.base.Method`.

    Raises:
        TypeError: the configuration is not resolved.
        UsageError: the class is no `Method` or cannot have the row's prior, or the settings of
            Keras differ from `KERAS`.
    """
    if not isinstance(config, ResolvedConfig):
        raise TypeError(
            'build_method: the configuration is not resolved. Pass methods.resolve(config, spec).'
        )
    import keras

    from flexae_tf.methods.base import Method

    found = keras.config.backend(), keras.config.image_data_format(), keras.config.floatx()
    if found != KERAS:
        raise UsageError(
            f'Keras: set to {", ".join(found)}, not {", ".join(KERAS)}. Correct KERAS_BACKEND or '
            '~/.keras/keras.json.'
        )
    row = find(config.method)
    method = row.load_class()
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UsageError(
            f'--method={config.method}: no method. Make it a subclass of '
            'flexae_tf.methods.base.Method.'
        )
    set_precision(config)  # so that a method computes everywhere like in training
    return method(config, spec, row)


def set_precision(config: ResolvedConfig) -> None:
    """Sets the arithmetic of matrix products, a property of the process, to `--precision`."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(config.precision != 'float32')
