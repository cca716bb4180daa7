"""The 1797 handwritten digits that scikit-learn ships, resized to MNIST's format."""

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import DatasetSpec, Split, hold_out_test

NUM_TRAIN, NUM_TEST = 1437, 360


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of the digits; no option changes it."""
    del config
    shape = (28, 28, 1)
    return DatasetSpec('digits', 'images', shape, NUM_TRAIN, NUM_TEST, (0.0, 1.0), num_classes=10)


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Resizes the 8 x 8 digits and splits them.

    Returns:
        1437 training and 360 test examples: x uint8 [n, 28, 28, 1] and labels. The split is random
        but fixed, because neighbouring examples of the source have the same writer.
    """
    from scipy import ndimage
    from sklearn import datasets

    del config
    source = datasets.load_digits()
    # An 8 x 8 digit with ink 0 .. 16 becomes a 20 x 20 digit. A cubic spline gives blurred strokes.
    # Stretching the middle of its range gives sharp strokes with soft edges, like in MNIST.
    ink = np.stack(
        [
            ndimage.zoom(image, 20 / 8, order=3, mode='grid-constant', grid_mode=True)
            for image in source.images
        ]
    )
    ink = np.clip((ink - 4.0) / 8.0, 0.0, 1.0)
    x = np.pad(np.rint(255 * ink).astype(np.uint8), [(0, 0), (4, 4), (4, 4)])[..., None]
    return hold_out_test(Split(x, labels=source.target.astype(np.int64)), NUM_TEST)
