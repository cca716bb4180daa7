"""The two synthetic sets of the paper's appendix: six Gaussians seen through a random network.

Figure 2 has them in five dimensions, Figure 3 in two; both are seen in 128.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.data.dataset import Split

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
# The second parameter of the paper's N(0, s), layer by layer. Read as variances, 99 % of the
# outputs would be saturated; so they are standard deviations.
LAYER_STDDEVS = (0.05, 0.2, 0.1)

# Nothing here depends on the seed of a run: keys are made of the latents' dimension, what is drawn,
# and the layer or the part of the data. These numbers are for ever.
WEIGHTS, BIASES, COMPONENTS, LATENTS = 0, 1, 2, 3
TRAIN, TEST, VALIDATION = 0, 1, 2


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
        """Draws examples.

        Args:
            num: how many.
            index: tells draws apart; the sets of `load` are 0 and 1, validation is 2.

        Returns:
            x float32 [num, 128] in [-1, 1], latents float32 [num, k], components int64 [num].
        """
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
        """What latents [num, k] look like: float32 [num, 128], computed in float64."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        hidden = np.tanh(z.astype(np.float64) @ w1.T + b1)
        return np.tanh(np.exp(hidden @ w2.T + b2) @ w3.T + b3).astype(np.float32)


@functools.cache
def six_gaussians(dim: int) -> SixGaussians:
    """The mixture with latents of `dim` (2 or 5) dimensions, and its network: the same for ever."""
    weights, biases = [], []
    with tf.device('CPU'):
        for i, (inputs, stddev) in enumerate(zip((dim, WIDTH, WIDTH), LAYER_STDDEVS, strict=True)):
            weight = noise.normal(_key(dim, WEIGHTS, i), [WIDTH, inputs])
            bias = noise.normal(_key(dim, BIASES, i), [WIDTH])
            weights.append((stddev * weight).numpy())
            biases.append((stddev * bias).numpy())
    means = np.array(MEANS[dim], np.float64)
    return SixGaussians(means, np.array(VARIANCES), tuple(weights), tuple(biases))


def load(dim: int, *, num_train: int, num_test: int) -> tuple[Split, Split]:
    """Training and test examples, with true latents, and components as labels."""
    return _split(dim, num_train, TRAIN), _split(dim, num_test, TEST)


def draw_validation(dim: int, num: int) -> Split:
    """Examples that are in neither of the sets of `load`."""
    return _split(dim, num, VALIDATION)


def _split(dim: int, num: int, index: int) -> Split:
    x, latents, components = six_gaussians(dim).sample(num, index)
    return Split(x, labels=components, latents=latents)


def _key(dim: int, stage: int, index: int) -> noise.Key:
    return noise.key(dim, stage, noise.Role.SYNTHETIC_DATA, index)
