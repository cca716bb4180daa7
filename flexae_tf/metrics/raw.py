"""Examples as they are scored, and their raw values as features."""

import numpy as np

from flexae_tf.data import DatasetSpec
from flexae_tf.grids import to_uint8


def finish(x: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """A decoder's output as it is scored: images rounded to uint8, vectors as they are."""
    return to_uint8(x) if spec.kind == 'images' else x


def raw_features(x: np.ndarray) -> np.ndarray:
    """The values of each example as a feature row, float32 [n, d]; images in [0, 1]."""
    rows = x.reshape([len(x), -1])
    return rows.astype(np.float32) / 255.0 if x.dtype == np.uint8 else rows
