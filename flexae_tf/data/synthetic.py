"""The two synthetic data sets of the paper's appendix: six Gaussians behind a random network.

Latents have five dimensions in Figure 2 and two in Figure 3; observations have 128.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import DatasetSpec, Split

LATENT_DIMS = {'synthetic_2d': 2, 'synthetic_5d': 5}
NUM_TRAIN, NUM_TEST = 15_000, 10_000
WIDTH = 128
VARIANCES = (1.0, 1.0, 0.5, 0.95, 0.5, 0.75)
MEANS = {
    2: ((0, 0), (5, 5), (-5, 5), (5, -1.5), (-2, -7), (-4, -3)),
    5: (
        (0, 0, 0, 0, 0),
        (5, 5, 5, 5, 5),
        (-5, 5, 3, 4.5, -6),
        (5, -1.5, -6.5, 3, 1),
        (-2, -7, 9, -1.5, -4.5),
        (-4, -3, -5.5, 2, 4),
    ),
}
# The second parameter of the paper's N(0, s) of each layer, read as a standard deviation: as
# variances, they would saturate 99 % of the outputs.
LAYER_STDDEVS = (0.05, 0.2, 0.1)

# Random keys consist of the latent dimension, the quantity, and the layer or split. They do not
# depend on the seed of a run. These numbers must not change: recorded scores depend on them.
WEIGHTS, BIASES, COMPONENTS, LATENTS = 0, 1, 2, 3
TRAIN, TEST, VALIDATION = 0, 1, 2


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of `config.dataset`, one of `LATENT_DIMS`."""
    return DatasetSpec(
        config.dataset, 'vectors', (WIDTH,), NUM_TRAIN, NUM_TEST, (-1.0, 1.0), num_classes=6
    )


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Samples training and test examples, with their latents, and components as labels."""
    return _sample_split(config, NUM_TRAIN, TRAIN), _sample_split(config, NUM_TEST, TEST)


def load_validation(config: TrainConfig, num: int) -> Split:
    """Samples `num` examples that `load` does not return."""
    return _sample_split(config, num, VALIDATION)


@dataclasses.dataclass(frozen=True, eq=False)
class SixGaussians:
    """z from six Gaussians of equal weight, x = tanh(W3 exp(W2 tanh(W1 z + b1) + b2) + b3).

    Attributes:
        means: float64 [6, k].
        variances: float64 [6]; covariances are multiples of the identity.
        weights: W1 [128, k], W2 and W3 [128, 128], float32.
        biases: b1, b2, b3 [128], float32.
    """

    means: np.ndarray
    variances: np.ndarray
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    biases: tuple[np.ndarray, np.ndarray, np.ndarray]

    def sample(self, num: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples examples.

        Args:
            num: number of examples.
            index: number of the sample; the splits use `TRAIN`, `TEST` and `VALIDATION`.

        Returns:
            x float32 [num, 128] in [-1, 1], latents float32 [num, k], components int64 [num].
        """
        import tensorflow as tf

        from flexae_tf import noise

        dim = self.means.shape[1]
        with tf.device('CPU'):
            components = noise.integers(
                _key(dim, COMPONENTS, index), [num], len(self.means)
            ).numpy()
            normals = noise.normal(_key(dim, LATENTS, index), [num, dim]).numpy()
        latents = self.means[components] + normals * np.sqrt(self.variances)[components, None]
        latents = latents.astype(np.float32)
        return self.observe(latents), latents, components.astype(np.int64)

    def observe(self, z: np.ndarray) -> np.ndarray:
        """Maps latents [num, k] to observations, float32 [num, 128], computed in float64."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        hidden = np.tanh(z.astype(np.float64) @ w1.T + b1)
        return np.tanh(np.exp(hidden @ w2.T + b2) @ w3.T + b3).astype(np.float32)


@functools.cache
def six_gaussians(dim: int) -> SixGaussians:
    """Returns the fixed mixture and network with `dim` (2 or 5) latent dimensions."""
    import tensorflow as tf

    from flexae_tf import noise

    weights, biases = [], []
    with tf.device('CPU'):
        for i, (inputs, stddev) in enumerate(zip((dim, WIDTH, WIDTH), LAYER_STDDEVS, strict=True)):
            weight = noise.normal(_key(dim, WEIGHTS, i), [WIDTH, inputs])
            bias = noise.normal(_key(dim, BIASES, i), [WIDTH])
            weights.append((stddev * weight).numpy())
            biases.append((stddev * bias).numpy())
    means = np.array(MEANS[dim], np.float64)
    return SixGaussians(means, np.array(VARIANCES), tuple(weights), tuple(biases))


def _sample_split(config: TrainConfig, num: int, index: int) -> Split:
    x, latents, components = six_gaussians(LATENT_DIMS[config.dataset]).sample(num, index)
    return Split(x, labels=components, latents=latents)


def _key(dim: int, quantity: int, index: int) -> Any:
    from flexae_tf import noise

    return noise.key(dim, quantity, noise.Role.SYNTHETIC_DATA, index)
