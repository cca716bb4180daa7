"""What is to be seen of a run: TensorBoard, and the image grids in the workdir."""

import contextlib
import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from flexae_tf import image_grid
from flexae_tf.config import TrainConfig
from flexae_tf.config.options import to_flagfile
from flexae_tf.data import Dataset
from flexae_tf.data.batches import as_float, map_batches
from flexae_tf.methods.base import Method
from flexae_tf.methods.posterior_samples import draw_codes
from flexae_tf.metrics import frechet, latent
from flexae_tf.metrics.pixels import pixel_features, postprocess_images
from flexae_tf.metrics.protocol import raw_protocol
from flexae_tf.training.workdir import Workdir

MONITORED = 1000  # held-out examples behind the statistics of a running training
GRID = 64  # images in a grid
SAMPLE_SEED = 0  # the same noise for every grid of a run


@contextlib.contextmanager
def recording(writer: tf.summary.SummaryWriter, step: int | None = None) -> Iterator[None]:
    """Writes the summaries that are made inside; raises `OSError` where that fails."""
    try:
        with writer.as_default(step=step):
            yield
        writer.flush()
    except tf.errors.OpError as error:
        raise OSError(str(error).partition('\n')[0]) from None


class Summaries:
    """Statistics on held-out examples, and pictures of fixed noise and fixed test images.

    Args:
        method: what is trained.
        dataset: statistics come from `validation`, pictures from `test`.
        config: the resolved configuration.
        workdir: where to write; without one, nothing is written.
    """

    def __init__(
        self, method: Method, dataset: Dataset, config: TrainConfig, workdir: Workdir | None
    ) -> None:
        self._method = method
        self._config = config
        self._workdir = workdir
        self._images = dataset.spec.kind == 'images'
        self._held_out = dataset.validation.x[:MONITORED]
        self._reals = dataset.test.x[:GRID]
        self._spec = dataset.spec
        self._encode = tf.function(method.encode)
        self._sample_posterior = tf.function(method.sample_posterior)
        self._decode = tf.function(method.decode)

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        writer = tf.summary.create_file_writer(str(self._workdir.tensorboard))
        with writer.as_default(step=0):
            tf.summary.text('config', f'```\n{to_flagfile(self._config)}```')
        return writer

    @contextlib.contextmanager
    def _recording(self, step: int) -> Iterator[None]:
        with recording(self._writer, step):
            yield

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Adds scalars under their tags."""
        if not self._workdir:
            return
        with self._recording(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def write_reals(self) -> None:
        """The grid of real images that those of the run are to be compared with."""
        self._picture('reals', 'reals.png', 0, self._reals)

    def sample(self, step: int) -> dict[str, float]:
        """Writes grids and histograms; returns latent and validation statistics by tag.

        Codes are draws of their posteriors, whose law the prior is to have; reconstructions are of
        the posteriors' means. Nothing is drawn of a method without a prior: there are statistics of
        its codes, and reconstructions.
        """
        x = self._held_out
        z, x_hat = self._codes_and_reconstructions(x)
        if self._method.method_spec.posterior != 'deterministic':
            z = draw_codes(self._method, x, seed=SAMPLE_SEED, compiled=self._sample_posterior)
        drawn = self._draw(max(len(x), GRID))
        codes = {'z': z} if drawn is None else {'z': z, 'zhat': drawn[: len(x)]}
        if self._workdir:
            with self._recording(step):
                for name, values in codes.items():
                    tf.summary.histogram(f'latent/{name}', values)
            self._write_grids(step, drawn)
        error = as_float(tf.constant(x)).numpy() - x_hat
        square = np.mean(np.sum(np.square(error).reshape(len(x), -1), axis=1))
        statistics = {'validation/ae': float(square)}
        if drawn is not None:
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
        return statistics

    def evaluate(self) -> dict[str, float]:
        """Frechet distances of reconstructions, and samples if any, from held-out examples."""
        x = self._held_out
        fakes = {'reconstructions': self._codes_and_reconstructions(x)[1]}
        z_hat = self._draw(len(x))
        if z_hat is not None:
            fakes['samples'] = map_batches(self._decode, z_hat, self._config.batch_size)
        protocol = raw_protocol(self._config, self._spec, split='validation', x=x)
        return {
            f'metrics/{protocol.name(image_set)}/{protocol.id}': frechet.frechet_distance(
                pixel_features(x), pixel_features(postprocess_images(fake))
            )
            for image_set, fake in fakes.items()
        }

    def _draw(self, num: int) -> np.ndarray | None:
        """Codes [num, latent_dim] of the prior, the same at every step; None without a prior."""
        if self._method.prior is None:
            return None
        return self._method.sample_latent(num, SAMPLE_SEED).numpy()

    def _codes_and_reconstructions(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = map_batches(self._encode, x, self._config.batch_size)
        return z, map_batches(self._decode, z, self._config.batch_size)

    def _write_grids(self, step: int, drawn: np.ndarray | None) -> None:
        if not self._images:
            return
        name = f'{step:09d}.png'
        reals = self._reals[: GRID // 2]
        _, x_hat = self._codes_and_reconstructions(reals)
        pairs = image_grid.pairs(reals, image_grid.to_uint8(x_hat))
        self._picture('reconstructions', f'recon_{name}', step, pairs)
        if drawn is None:
            return
        fakes = image_grid.to_uint8(map_batches(self._decode, drawn[:GRID], GRID))
        weights = np.linspace(0.0, 1.0, 8, dtype=np.float32)[None, :, None]
        path = (1.0 - weights) * drawn[:8, None] + weights * drawn[8:16, None]
        between = map_batches(self._decode, path.reshape([-1, drawn.shape[1]]), GRID)
        self._picture('samples', f'fakes_{name}', step, fakes)
        self._picture('interpolations', f'interp_{name}', step, image_grid.to_uint8(between))

    def _picture(self, tag: str, name: str, step: int, images: np.ndarray) -> None:
        """Writes images [n, h, w, c], or one that is a grid already, to TensorBoard and as PNG."""
        if not self._workdir or not self._images:
            return
        picture = image_grid.grid(images) if images.ndim == 4 else images
        image_grid.write_png(self._workdir.samples / name, picture)
        with self._recording(step):
            tf.summary.image(tag, picture[None])
