"""Statistics on held-out examples and image grids of a running training."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from flexae_tf import image_grid
from flexae_tf.data import Dataset
from flexae_tf.data.batches import as_float, map_batches
from flexae_tf.methods.base import Method
from flexae_tf.methods.posterior_samples import sample_codes
from flexae_tf.metrics import frechet, latent
from flexae_tf.metrics.pixels import pixel_features, postprocess_images
from flexae_tf.metrics.protocol import raw_protocol
from flexae_tf.training import event_files
from flexae_tf.training.numerics import NonFiniteValues
from flexae_tf.training.run_log import PrintLog

MONITORED = 1000  # held-out examples that the statistics use
GRID = 64  # images in a grid
SAMPLE_SEED = 0  # every grid of a run has the same noise


class Summaries:
    """Statistics on validation examples; images of fixed noise and of fixed test images.

    Args:
        method: the method that is trained.
        dataset: its validation examples are used for statistics, its test images for grids.
        log: destination of histograms and images.

    Raises:
        NonFiniteValues: a code, an image or a statistic is not finite; raised by the methods.
    """

    def __init__(self, method: Method, dataset: Dataset, log: PrintLog) -> None:
        self._method = method
        self._log = log
        self._spec = dataset.spec
        self._held_out = dataset.validation.x[:MONITORED]
        self._reals = dataset.test.x[:GRID]
        self._protocol = raw_protocol(
            method.config, dataset.spec, split='validation', x=self._held_out
        )

    @property
    def descriptions(self) -> dict[str, str]:
        """Descriptions of the tags of `evaluate`."""
        protocol = self._protocol
        text = event_files.describe_protocol(protocol.label, protocol.id, protocol.fields())
        return dict.fromkeys(map(self._score_tag, ('reconstructions', 'samples')), text)

    def write_first(self) -> None:
        """Writes a grid of test images, and grids of the initial weights to compare with."""
        if self._spec.kind == 'images':
            self._log.image('reals', 'reals.png', 0, image_grid.grid(self._reals))
            self._write_grids(0, self._sample_latent(GRID))

    @np.errstate(over='ignore', invalid='ignore')  # an error instead of a warning, see _check
    def sample(self, step: int) -> dict[str, float]:
        """Writes grids and histograms, and computes statistics of codes and reconstructions.

        Codes are samples of their posteriors, whose distribution the prior should match.
        Reconstructions are of posterior means. A method without a prior has no statistics of
        samples and no grids of them.

        Returns:
            Latent and validation statistics by tag.
        """
        x = self._held_out
        z, x_hat = self._codes_and_reconstructions(x)
        if self._method.method_spec.posterior != 'deterministic':
            z = sample_codes(self._method, x, seed=SAMPLE_SEED)
            _check({'latent/z': z})
        z_hat = self._sample_latent(max(len(x), GRID))
        codes = {'z': z} if z_hat is None else {'z': z, 'z_hat': z_hat[: len(x)]}
        for name, values in codes.items():
            self._log.histogram(f'latent/{name}', step, values)
        if self._spec.kind == 'images':
            self._write_grids(step, z_hat)
        statistics = {}
        if not self._method.method_spec.trains_on_codes:  # their examples can be posteriors
            error = as_float(tf.constant(x)).numpy() - x_hat
            squared_error = np.mean(np.sum(np.square(error).reshape(len(x), -1), axis=1))
            statistics['validation/ae'] = float(squared_error)
        if z_hat is not None:
            statistics |= {
                'latent/sliced_wasserstein': latent.sliced_wasserstein(*codes.values()),
                'latent/mmd': latent.mmd(*codes.values()),
            }
        for name, values in codes.items():
            statistics |= {
                f'latent/{name}_norm': float(np.mean(np.linalg.norm(values, axis=1))),
                f'latent/{name}_scale': latent.scale(values),
                f'latent/{name}_rank': latent.effective_rank(values),
            }
        _check(statistics)
        return statistics

    def evaluate(self) -> dict[str, float]:
        """Returns Frechet distances of reconstructions and samples from validation examples."""
        x = self._held_out
        fakes = {'reconstructions': self._codes_and_reconstructions(x)[1]}
        z_hat = self._sample_latent(len(x))
        if z_hat is not None:
            fakes['samples'] = self._decoded('samples', z_hat)
        distances = {
            self._score_tag(image_set): frechet.frechet_distance(
                pixel_features(x), pixel_features(postprocess_images(fake))
            )
            for image_set, fake in fakes.items()
        }
        _check(distances)
        return distances

    def _score_tag(self, image_set: str) -> str:
        return f'metrics/{self._protocol.name(image_set)}'

    def _sample_latent(self, num: int) -> np.ndarray | None:
        """Returns the same codes [num, latent_dim] at every step; None without a prior."""
        if self._method.prior is None:
            return None
        z_hat = self._method.sample_latent(num, SAMPLE_SEED).numpy()
        _check({'latent/z_hat': z_hat})
        return z_hat

    def _codes_and_reconstructions(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = map_batches(self._method.traced.encode, x, self._method.config.batch_size)
        _check({'latent/z': z})
        return z, self._decoded('reconstructions', z)

    def _decoded(self, name: str, z: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        batch_size = batch_size or self._method.config.batch_size
        x_hat = map_batches(self._method.traced.decode, z, batch_size)
        _check({name: x_hat})
        return x_hat

    def _write_grids(self, step: int, z_hat: np.ndarray | None) -> None:
        name = f'{step:09d}.png'
        reals = self._reals[: GRID // 2]
        _, x_hat = self._codes_and_reconstructions(reals)
        pairs = image_grid.pairs(reals, image_grid.to_uint8(x_hat))
        self._log.image('reconstructions', f'recon_{name}', step, pairs)
        if z_hat is None:
            return
        samples = self._decoded('samples', z_hat[:GRID], GRID)
        self._write_grid('samples', f'fakes_{name}', step, samples)
        weights = np.linspace(0.0, 1.0, 8, dtype=np.float32)[None, :, None]
        path = (1.0 - weights) * z_hat[:8, None] + weights * z_hat[8:16, None]
        between = self._decoded('interpolations', path.reshape([-1, z_hat.shape[1]]), GRID)
        self._write_grid('interpolations', f'interp_{name}', step, between)

    def _write_grid(self, tag: str, file_name: str, step: int, images: np.ndarray) -> None:
        self._log.image(tag, file_name, step, image_grid.grid(image_grid.to_uint8(images)))


def _check(values: Mapping[str, float | np.ndarray]) -> None:
    """Raises `NonFiniteValues` with the names of the values that are not finite."""
    names = [name for name, value in values.items() if not np.isfinite(value).all()]
    if names:
        raise NonFiniteValues(names)
