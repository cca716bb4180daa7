"""Grids of images of a trained method: Figs. 4, 6 to 12, and the strips of every method.

Images of the data are the first that qualify in a fixed random permutation, so none is selected.
Figs. 7 to 11 show five attributes of CelebA, or five classes of a data set with labels.
"""

import functools
from collections.abc import Sequence

import numpy as np

from flexae_tf import image_grid
from flexae_tf.data import Dataset, DatasetSpec, Purpose, Split, fixed_permutation
from flexae_tf.data.batches import map_batches
from flexae_tf.data.dataset import has_attribute
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import Method
from flexae_tf.metrics.pixels import nearest_images

ATTRIBUTES = ('Big_Nose', 'Heavy_Makeup', 'Black_Hair', 'Smiling', 'Male')  # of Figs. 7 to 11
ROWS = 5
# The paper states neither. At t = 1 the mean code without the attribute is the mean code with it.
COLUMNS, REACH = 9, 2.0
BATCH = 256
Part = tuple[np.ndarray, str]  # of a figure: a grid of images and its caption


def attribute_names(spec: DatasetSpec) -> list[str]:
    """Returns the binary attributes to show, at most five: the paper's, or 'class 0', ..."""
    names = [name for name in ATTRIBUTES if name in spec.attributes]
    names = names or [f'class {k}' for k in range(min(spec.num_classes or 0, ROWS))]
    if not names:
        raise UsageError(
            f'--dataset={spec.name}: no attributes and no labels. Choose --artifact=fig6 or fig12.'
        )
    return names


class Gallery:
    """A method and the images that its figures show; `seed` is the seed of the samples."""

    def __init__(self, method: Method, dataset: Dataset, *, seed: int = 0) -> None:
        self.spec, self.train, self.test = dataset.spec, dataset.train, dataset.test
        if self.spec.kind != 'images':
            raise UsageError(f'--dataset={self.spec.name}: no images. Choose another data set.')
        self.method, self._seed = method, seed

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """Codes of all training images, float32 [n, latent_dim]."""
        return map_batches(self.method.traced.encode, self.train.x, BATCH)

    def direction(self, name: str) -> np.ndarray:
        """Returns the mean code with an attribute minus the mean without: float64 [latent_dim]."""
        positive = has_attribute(self.spec, self.train, name)
        num = np.count_nonzero(positive)
        if num in (0, len(positive)):
            raise UsageError(
                f'{name}: {num} of {len(positive)} training images have it. Train on more images.'
            )
        mean = functools.partial(np.mean, self.codes, axis=0, dtype=np.float64)
        return mean(where=positive[:, None]) - mean(where=~positive[:, None])

    def choose(self, split: Split, names: Sequence[str], positive: bool = True) -> np.ndarray:
        """Returns the indices of an image for each attribute, none twice: int [len(names)].

        The images have (or lack, if not `positive`) the attributes; '' allows any image.
        """
        order, chosen = fixed_permutation(len(split), Purpose.DISPLAY), []
        every = np.ones(len(split), bool)
        for name in names:
            fits = has_attribute(self.spec, split, name) == positive if name else every
            free = order[fits[order] & ~np.isin(order, chosen)]
            if not len(free):
                kind = f' {"with" if positive else "without"} {name}' if name else ''
                raise UsageError(
                    f'{self.spec.name}: {list(names).count(name)} images{kind} needed, '
                    f'{np.count_nonzero(fits)} of {len(split)} available. Use more data.'
                )
            chosen.append(free[0])
        return np.array(chosen)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Returns images uint8 [..., h, w, c] of codes [..., latent_dim]."""
        flat = z.reshape([-1, z.shape[-1]]).astype(np.float32)
        x = image_grid.to_uint8(map_batches(self.method.traced.decode, flat, BATCH))
        return x.reshape([*z.shape[:-1], *x.shape[1:]])

    def latents(self, num: int) -> np.ndarray:
        """Returns samples of the prior or density, float32 [num, latent_dim]."""
        return self.method.sample_latent(num, self._seed).numpy()

    def reconstructions(self, x: np.ndarray) -> np.ndarray:
        """Returns a row of images above a row of their reconstructions."""
        x_hat = image_grid.to_uint8(map_batches(self.method.traced.reconstruct, x, BATCH))
        return image_grid.pairs(x, x_hat, columns=len(x))

    def traverse(self, split: Split, chosen: np.ndarray, names: list[str], positive: bool) -> Part:
        """Returns chosen images, moved along the directions of one attribute or one for each."""
        z = map_batches(self.method.traced.encode, split.x[chosen], BATCH)
        directions = np.broadcast_to([self.direction(name) for name in names], z.shape)
        t = np.linspace(-REACH, REACH, COLUMNS)[:, None]
        images = self.decode(z[:, None] + t * directions[:, None])
        images[:, COLUMNS // 2] = split.x[chosen]
        caption = (
            f'{"Test" if split is self.test else "Training"} images '
            f'{"with" if positive else "without"} {", ".join(names)}. The image is in the middle; '
            f'its code moves from {-REACH:g} to {REACH:g} times the difference of the mean codes '
            'of training images with and without the attribute.'
        )
        return image_grid.grid(images), caption

    def interpolate(self, z: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
        """Returns the grid of lines from the first half of codes [2 n, latent_dim] to the second.

        The images `ends`, uint8 [2 n, h, w, c], replace the first and last columns if given.
        """
        z_a, z_b = np.split(z[:, None], 2)
        weights = np.linspace(0.0, 1.0, COLUMNS)[:, None]
        images = self.decode((1.0 - weights) * z_a + weights * z_b)
        if ends is not None:
            images[:, 0], images[:, -1] = np.split(ends, 2)
        return image_grid.grid(images)

    def neighbours(self, num_samples: int, *, num: int) -> Part:
        """Returns samples, each followed by its `num` nearest training images."""
        if len(self.train) < num:
            raise UsageError(
                f'{self.spec.name}: {num} neighbours needed, {len(self.train)} training images. '
                'Train on more images.'
            )
        samples = self.decode(self.latents(num_samples))
        found = self.train.x[nearest_images(samples, self.train.x, num=num)]
        grid = image_grid.grid(np.concatenate([samples[:, None], found], axis=1))
        return grid, 'Samples, each followed by its nearest training images in pixels.'


def fig4(gallery: Gallery) -> dict[str, Part]:
    """Returns traversals (a, b), interpolations of test images (c) and samples, neighbours (d)."""
    train, test, names = gallery.train, gallery.test, attribute_names(gallery.spec)
    neighbours = gallery.neighbours(ROWS, num=4)
    x = test.x[gallery.choose(test, [''] * 2 * ROWS)]
    lines = gallery.interpolate(map_batches(gallery.method.encode, x, BATCH), ends=x)
    samples = gallery.interpolate(gallery.latents(2 * ROWS))
    having, lacking = gallery.choose(train, names), gallery.choose(test, names, positive=False)
    along = 'to another along the line between their codes.'
    return {
        'fig4_samples': (samples, f'From one sample {along}'),
        'fig4a': gallery.traverse(train, having, names, positive=True),
        'fig4b': gallery.traverse(test, lacking, names, positive=False),
        'fig4c': (lines, f'From one test image {along}'),
        'fig4d': neighbours,
    }


def fig6(gallery: Gallery) -> dict[str, Part]:
    """Returns six test images above their reconstructions (a), and 36 samples (b, c, d)."""
    x = gallery.test.x[gallery.choose(gallery.test, [''] * 6)]
    return {
        'fig6a': (gallery.reconstructions(x), 'Test images above their reconstructions.'),
        'fig6_samples': (image_grid.grid(gallery.decode(gallery.latents(36))), 'Samples.'),
    }


def attribute_figure(gallery: Gallery, *, number: int) -> dict[str, Part]:
    """Returns Figs. 7 to 11: test images without (a, b) and with (c, d) an attribute, moved."""
    test, names = gallery.test, attribute_names(gallery.spec)
    if number - 7 >= len(names):
        raise UsageError(f'--artifact=fig{number}: only {len(names)} attributes. Leave it out.')
    name, parts = names[number - 7], {}
    for letters, positive in (('ab', False), ('cd', True)):
        chosen = gallery.choose(test, [name] * 2 * ROWS, positive)
        for letter, rows in zip(letters, np.split(chosen, 2), strict=True):
            parts[f'fig{number}{letter}'] = gallery.traverse(test, rows, [name], positive=positive)
    return parts


GALLERIES = {f'fig{n}': functools.partial(attribute_figure, number=n) for n in range(7, 12)}
GALLERIES |= {'fig4': fig4, 'fig6': fig6, 'fig12': lambda g: {'fig12': g.neighbours(15, num=14)}}


def strip(gallery: Gallery) -> np.ndarray:
    """Returns the test images of a run's `samples/`, their reconstructions, two rows of samples."""
    x = gallery.test.x[:20]
    samples = image_grid.grid(gallery.decode(gallery.latents(2 * len(x))), columns=len(x))
    return np.concatenate([gallery.reconstructions(x), samples])
