"""Grids of images of a trained method: Figs. 4, 6 to 12, and the strips of every method.

Images of the data are the first that qualify in a fixed random permutation, so they are not
selected. Figs. 7 to 11 show five attributes of CelebA, or five classes where a data set has labels
instead.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from flexae_tf import image_grid
from flexae_tf.data import Dataset, DatasetSpec, Purpose, Split, fixed_permutation
from flexae_tf.data.batches import map_batches
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import Method

ATTRIBUTES = ('Big_Nose', 'Heavy_Makeup', 'Black_Hair', 'Smiling', 'Male')  # of Figs. 7 to 11
ROWS = 5
# The paper states neither. At t = 1 the mean code without the attribute is the mean code with it.
COLUMNS, REACH = 9, 2.0
STRIP = 20  # images in a row of `strip`
BATCH = 256
_BLOCK = 2**23  # values held as float64 by `nearest`: 64 MB
_MOVED = (
    f'The image is in the middle; its code moves from {-REACH:g} to {REACH:g} times the difference '
    'of the mean codes of training images with and without the attribute.'
)


def attribute_names(spec: DatasetSpec) -> tuple[str, ...]:
    """Returns the binary attributes to show, at most five: the paper's, or 'class 0', ...

    Raises:
        UsageError: the data have neither attributes nor labels.
    """
    if names := tuple(name for name in ATTRIBUTES if name in spec.attributes):
        return names
    if spec.num_classes is None:
        raise UsageError(
            f'--dataset={spec.name}: no attributes and no labels. Choose --artifact=fig6 or fig12.'
        )
    return tuple(f'class {k}' for k in range(min(spec.num_classes, ROWS)))


def has_attribute(spec: DatasetSpec, split: Split, name: str) -> np.ndarray:
    """Returns which examples have an attribute of `attribute_names`: bool [n].

    Raises:
        UsageError: the examples have no such attribute.
    """
    if name in spec.attributes:
        return split.attributes[:, spec.attributes.index(name)]
    classes = [f'class {k}' for k in range(spec.num_classes or 0)]
    if name not in classes or split.labels is None:
        choices = ', '.join([*spec.attributes, *classes]) or 'none'
        raise UsageError(f'{spec.name}: no attribute {name!r}. Choose one of {choices}.')
    return split.labels == classes.index(name)


class Gallery:
    """A method and the images that its figures show.

    Args:
        method: samples from its prior, or from a density.
        dataset: the images it was trained on, and the test images.
        seed: of the samples.

    Raises:
        UsageError: the data are vectors.
    """

    def __init__(self, method: Method, dataset: Dataset, *, seed: int = 0) -> None:
        if dataset.spec.kind != 'images':
            raise UsageError(f'--dataset={dataset.spec.name}: no images. Choose another data set.')
        self.method = method
        self.train = dataset.train
        self.test = dataset.test
        self.spec = dataset.spec
        self._seed = seed

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """Codes of all training images, float32 [n, latent_dim]."""
        return map_batches(tf.function(self.method.encode), self.train.x, BATCH)

    def direction(self, name: str) -> np.ndarray:
        """Returns the mean code with an attribute minus the mean without: float64 [latent_dim].

        Raises:
            UsageError: all training images have the attribute, or none.
        """
        positive = has_attribute(self.spec, self.train, name)
        num = np.count_nonzero(positive)
        if num in (0, len(positive)):
            raise UsageError(
                f'{name}: {num} of {len(positive)} training images have it. Train on more images.'
            )
        mean = functools.partial(np.mean, self.codes, axis=0, dtype=np.float64)
        return mean(where=positive[:, None]) - mean(where=~positive[:, None])

    def choose(
        self,
        split: Split,
        num: int,
        *,
        name: str | None = None,
        positive: bool = True,
        exclude: Sequence[int] = (),
    ) -> np.ndarray:
        """Returns indices of images to show, the same in every run: int [num].

        Args:
            split: training or test images.
            num: number of images.
            name: attribute of the images; any image qualifies if None.
            positive: whether they have the attribute, or lack it.
            exclude: indices of images that are already shown.

        Raises:
            UsageError: there are fewer images.
        """
        fits = np.ones(len(split), bool)
        if name is not None:
            fits = has_attribute(self.spec, split, name) == positive
        fits[list(exclude)] = False
        order = fixed_permutation(len(split), Purpose.DISPLAY)
        chosen = order[fits[order]][:num]
        if len(chosen) < num:
            kind = f' {"with" if positive else "without"} {name}' if name else ''
            raise UsageError(
                f'{self.spec.name}: {num} images{kind} needed, {len(chosen)} of {len(split)} '
                'available. Use more data.'
            )
        return chosen

    def latents(self, num: int) -> np.ndarray:
        """Returns the codes of `samples`, float32 [num, latent_dim]."""
        return self.method.sample_latent(num, self._seed).numpy()

    def samples(self, num: int) -> np.ndarray:
        """Returns samples, uint8 [num, h, w, c]."""
        return self.decode(self.latents(num))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Returns images uint8 [..., h, w, c] of codes [..., latent_dim]."""
        flat = z.reshape([-1, z.shape[-1]]).astype(np.float32)
        x = image_grid.to_uint8(map_batches(self.method.decode, flat, BATCH))
        return x.reshape([*z.shape[:-1], *x.shape[1:]])

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Returns codes [n, latent_dim] of images."""
        return map_batches(self.method.encode, x, BATCH)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Returns reconstructions, uint8 like `x`."""
        return image_grid.to_uint8(map_batches(self.method.reconstruct, x, BATCH))

    def traverse(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Returns the grid of images moved along a direction, [latent_dim] or one for each."""
        z = self.encode(x)
        t = np.linspace(-REACH, REACH, COLUMNS)[:, None]
        images = self.decode(z[:, None] + t * np.broadcast_to(direction, z.shape)[:, None])
        images[:, COLUMNS // 2] = x
        return rows_grid(images)

    def interpolate(
        self, z_a: np.ndarray, z_b: np.ndarray, ends: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Returns the grid of decoded points of the lines from `z_a` to `z_b`, [n, latent_dim].

        `ends`, images uint8 [n, h, w, c], replace the first and last columns if given.
        """
        weights = np.linspace(0.0, 1.0, COLUMNS)[:, None]
        images = self.decode((1.0 - weights) * z_a[:, None] + weights * z_b[:, None])
        if ends:
            images[:, 0], images[:, -1] = ends
        return rows_grid(images)

    def neighbours(self, num_samples: int, *, num: int) -> np.ndarray:
        """Returns the grid of samples, each followed by its `num` nearest training images."""
        if len(self.train) < num:
            raise UsageError(
                f'{self.spec.name}: {num} neighbours needed, {len(self.train)} training images. '
                'Train on more images.'
            )
        samples = self.samples(num_samples)
        found = self.train.x[nearest(samples, self.train.x, num=num)]
        return rows_grid(np.concatenate([samples[:, None], found], axis=1))


def fig4(gallery: Gallery) -> dict[str, np.ndarray]:
    """Returns traversals (a, b), interpolations of test images (c) and samples, neighbours (d)."""
    test, spec = gallery.test, gallery.spec
    names = attribute_names(spec)
    images = {'fig4d': gallery.neighbours(ROWS, num=4)}
    x = test.x[gallery.choose(test, 2 * ROWS)]
    z, z_hat = gallery.encode(x), gallery.latents(2 * ROWS)
    images['fig4c'] = gallery.interpolate(z[:ROWS], z[ROWS:], (x[:ROWS], x[ROWS:]))
    images['fig4_samples'] = gallery.interpolate(z_hat[:ROWS], z_hat[ROWS:])
    directions = np.stack([gallery.direction(name) for name in names])
    for part, split, positive in (('fig4a', gallery.train, True), ('fig4b', test, False)):
        chosen: list[int] = []
        for name in names:
            chosen += list(gallery.choose(split, 1, name=name, positive=positive, exclude=chosen))
        images[part] = gallery.traverse(split.x[chosen], directions)
    return dict(sorted(images.items()))


def fig6(gallery: Gallery) -> dict[str, np.ndarray]:
    """Returns six test images above their reconstructions (a), and 36 samples (b, c, d)."""
    x = gallery.test.x[gallery.choose(gallery.test, 6)]
    return {
        'fig6a': image_grid.pairs(x, gallery.reconstruct(x), columns=6),
        'fig6_samples': image_grid.grid(gallery.samples(36), columns=6),
    }


def attribute_figure(gallery: Gallery, *, number: int) -> dict[str, np.ndarray]:
    """Returns Figs. 7 to 11: test images without (a, b) and with (c, d) an attribute, moved.

    Raises:
        UsageError: the data have fewer attributes.
    """
    names = attribute_names(gallery.spec)
    if number - 7 >= len(names):
        raise UsageError(f'--artifact=fig{number}: only {len(names)} attributes. Leave it out.')
    name = names[number - 7]
    images = {}
    for letters, positive in (('ab', False), ('cd', True)):
        chosen = gallery.choose(gallery.test, 2 * ROWS, name=name, positive=positive)
        for letter, rows in zip(letters, (chosen[:ROWS], chosen[ROWS:]), strict=True):
            x = gallery.test.x[rows]
            images[f'fig{number}{letter}'] = gallery.traverse(x, gallery.direction(name))
    return images


def fig12(gallery: Gallery) -> dict[str, np.ndarray]:
    """Returns 15 samples, each followed by its 14 nearest training images."""
    return {'fig12': gallery.neighbours(15, num=14)}


GALLERIES = {
    'fig4': fig4,
    'fig6': fig6,
    **{f'fig{n}': functools.partial(attribute_figure, number=n) for n in range(7, 12)},
    'fig12': fig12,
}


def strip(gallery: Gallery) -> np.ndarray:
    """Returns test images, their reconstructions and two rows of samples: uint8 [h, w, c].

    The test images are the same as in a run's `samples/`.
    """
    x = gallery.test.x[:STRIP]
    pairs = image_grid.pairs(x, gallery.reconstruct(x), columns=len(x))
    return np.concatenate([pairs, image_grid.grid(gallery.samples(2 * len(x)), columns=len(x))])


def captions(parts: Mapping[str, np.ndarray], spec: DatasetSpec) -> dict[str, str]:
    """Returns the captions of the images that a gallery returned, by name."""
    neighbours = 'Samples, each followed by its nearest training images in pixels.'
    fixed = {
        'fig4c': 'From one test image to another along the line between their codes.',
        'fig4d': neighbours,
        'fig4_samples': 'From one sample to another along the line between their codes.',
        'fig6a': 'Test images above their reconstructions.',
        'fig6_samples': 'Samples.',
        'fig12': neighbours,
    }
    found = {}
    for part in parts:
        if part not in fixed:
            names = attribute_names(spec)
            has = 'with' if part[-1] in ('cd' if part[3] != '4' else 'a') else 'without'
            split = 'Training' if part == 'fig4a' else 'Test'
            shown = names if part[3] == '4' else names[int(part[3:-1]) - 7 :][:1]
            fixed[part] = f'{split} images {has} {", ".join(shown)}. {_MOVED}'
        found[part] = fixed[part]
    return found


def rows_grid(images: np.ndarray) -> np.ndarray:
    """Returns one image of images [n, columns, h, w, c]."""
    return image_grid.grid(images.reshape([-1, *images.shape[2:]]), columns=images.shape[1])


def nearest(queries: np.ndarray, x: np.ndarray, *, num: int) -> np.ndarray:
    """Returns indices of the nearest images in Euclidean distance, nearest first: int [q, num].

    Sums of products of uint8 values are integers far below 2^53, so float64 is exact. Of equal
    distances the lower index comes first.

    Args:
        queries: uint8 [q, ...].
        x: uint8 [n, ...].
        num: number of neighbours, at most n.

    Raises:
        ValueError: values that are not uint8, different shapes, or fewer than `num` images.
    """
    if not queries.dtype == x.dtype == np.uint8:
        raise ValueError(f'images must be uint8, not {queries.dtype} and {x.dtype}')
    if queries.shape[1:] != x.shape[1:] or len(x) < num:
        raise ValueError(f'{num} neighbours of {queries.shape} among {x.shape}')
    a = queries.reshape([len(queries), -1]).astype(np.float64)
    norms = np.sum(a * a, axis=1)[:, None]
    indices, squares = np.zeros([len(a), 0], np.int64), np.zeros([len(a), 0])
    rows = max(1, _BLOCK // a.shape[1])
    for start in range(0, len(x), rows):
        b = x[start : start + rows].reshape([-1, a.shape[1]]).astype(np.float64)
        new = norms - 2.0 * (a @ b.T) + np.einsum('ij,ij->i', b, b)
        squares = np.concatenate([squares, new], axis=1)
        numbers = np.broadcast_to(np.arange(start, start + len(b)), new.shape)
        indices = np.concatenate([indices, numbers], axis=1)
        order = np.argsort(squares, axis=1, kind='stable')[:, :num]  # earlier blocks come first
        squares, indices = (np.take_along_axis(v, order, axis=1) for v in (squares, indices))
    return indices
