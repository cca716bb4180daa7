"""The pictures of Figs. 4, 6 and 7-12: walks through the latent space, samples, neighbours.

Images of the data are the first that fit in an order which is random but the same in every run,
and in a `strip` those that a training shows: nobody chose them. What Figs. 7-11 show of five
attributes of CelebA is shown of five classes where a data set has labels instead.
"""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flexae_tf import image_grid
from flexae_tf.data import Dataset, DatasetSpec, Purpose, Split, fixed_permutation
from flexae_tf.data.batches import map_batches
from flexae_tf.errors import UsageError
from flexae_tf.experiments.exhibits.nearest import nearest
from flexae_tf.experiments.exhibits.walks import BATCH, attribute_direction, interpolate, traverse
from flexae_tf.methods.base import Method

ATTRIBUTES = ('Big_Nose', 'Heavy_Makeup', 'Black_Hair', 'Smiling', 'Male')  # of Figs. 7 to 11
ARCHITECTURES = 5
# Both are open in the paper. At 1 the mean of those without has become the mean of those with.
COLUMNS = 9
REACH = 2.0
STRIP = 20  # images in a row of `strip`
_WALKED = (
    f'The image itself is in the middle; its code moves from {-REACH:g} to {REACH:g} times the '
    'mean code of training images with the attribute minus that of those without.'
)


def attribute_names(spec: DatasetSpec) -> tuple[str, ...]:
    """The binary attributes to draw, at most five: the paper's, else 'class 0', 'class 1', ...

    Raises:
        UsageError: the data have neither attributes nor labels.
    """
    if names := tuple(name for name in ATTRIBUTES if name in spec.attributes):
        return names
    if spec.num_classes is None:
        raise UsageError(
            f'{spec.name} has neither attributes nor labels: only fig6 and fig12 can be drawn of it'
        )
    return tuple(f'class {k}' for k in range(min(spec.num_classes, len(ATTRIBUTES))))


def has_attribute(spec: DatasetSpec, split: Split, name: str) -> np.ndarray:
    """Which examples have the attribute, or are of the class, `name`: bool [n].

    Raises:
        UsageError: there is no such attribute, or the split has no labels.
    """
    if name in spec.attributes:
        return split.attributes[:, spec.attributes.index(name)]
    classes = [f'class {k}' for k in range(spec.num_classes or 0)]
    if name not in classes:
        choices = ', '.join([*spec.attributes, *classes]) or 'none'
        raise UsageError(f'{spec.name} has no attribute {name!r}; there are: {choices}')
    if split.labels is None:
        raise UsageError(f'{spec.name}: {len(split)} examples lack labels; add them to the data')
    return split.labels == classes.index(name)


class Gallery:
    """What the figures of a trained method are drawn from; figures share the codes.

    Args:
        method: samples from its prior, or from the ex-post density in its place.
        dataset: the images it was trained on, and the test images.
        seed: of the samples; nothing else depends on it.

    Raises:
        UsageError: the data are vectors.
    """

    def __init__(self, method: Method, dataset: Dataset, *, seed: int = 0) -> None:
        if dataset.spec.kind != 'images':
            raise UsageError(f'{dataset.spec.name} has no images to draw: use another data set')
        self.method = method
        self.train = dataset.train
        self.test = dataset.test
        self._spec = dataset.spec
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """As `attribute_names`."""
        return attribute_names(self._spec)

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """Codes of all training images, float32 [n, latent_dim]."""
        return map_batches(tf.function(self.method.encode), self.train.x, BATCH)

    def direction(self, name: str) -> np.ndarray:
        """The `attribute_direction` of `name`; raises `UsageError` where there is none."""
        positive = has_attribute(self._spec, self.train, name)
        try:
            return attribute_direction(self.codes, positive)
        except ValueError as error:
            raise UsageError(f'{name}: {error}; train on more examples') from None

    def choose(
        self,
        split: Split,
        num: int,
        *,
        name: str | None = None,
        positive: bool = True,
        but: Sequence[int] = (),
    ) -> np.ndarray:
        """Which images of a split are shown: int [num], the same in every run.

        Args:
            split: one of the gallery's.
            num: how many.
            name: the attribute they have; anything goes without one.
            positive: False for images without the attribute.
            but: indices of images that are not to be shown again.

        Raises:
            UsageError: there are not as many.
        """
        fits = np.ones(len(split), bool)
        if name is not None:
            fits = has_attribute(self._spec, split, name) == positive
        fits[list(but)] = False
        order = fixed_permutation(len(split), Purpose.DISPLAY)
        chosen = order[fits[order]][:num]
        if len(chosen) < num:
            kind = f' {"with" if positive else "without"} {name}' if name else ''
            raise UsageError(
                f'{self._spec.name}: {num} images{kind} are to be shown, but of {len(split)} '
                f'images only {len(chosen)} can be: use more data'
            )
        return chosen

    def one_for_each(self, split: Split, *, positive: bool) -> np.ndarray:
        """For each of `names` another image that has, or has not, the attribute: uint8 [a, ...]."""
        chosen: list[int] = []
        for name in self.names:
            chosen.extend(self.choose(split, 1, name=name, positive=positive, but=chosen))
        return split.x[chosen]

    def samples(self, num: int) -> np.ndarray:
        """Generated images uint8 [num, h, w, c]; more of them begin with the same ones."""
        return image_grid.to_uint8(map_batches(self.method.decode, self.latents(num), BATCH))

    def latents(self, num: int) -> np.ndarray:
        """The codes of `samples`, float32 [num, latent_dim]."""
        return self.method.sample_latent(num, self._seed).numpy()

    def neighbours(self, num_samples: int, *, num: int) -> np.ndarray:
        """The grid of samples, each in front of the `num` training images nearest to it."""
        if len(self.train) < num:
            raise UsageError(
                f'{self._spec.name}: {num} neighbours are to be shown, but there are only '
                f'{len(self.train)} training images: train on more'
            )
        samples = self.samples(num_samples)
        found = self.train.x[nearest(samples, self.train.x, num=num).indices]
        return _grid(np.concatenate([samples[:, None], found], axis=1))


def fig4(gallery: Gallery) -> dict[str, np.ndarray]:
    """Walks along five attributes (a, b), between test images (c) or samples, and neighbours (d).

    A row of (a) is of a training image with its attribute, a row of (b) of a test image without.
    """
    method, test = gallery.method, gallery.test
    # First what may be refused, then the codes of all training images.
    pictures = {'fig4d': gallery.neighbours(ARCHITECTURES, num=4)}
    starts = {
        'fig4a': gallery.one_for_each(gallery.train, positive=True),
        'fig4b': gallery.one_for_each(test, positive=False),
    }
    x = test.x[gallery.choose(test, 2 * ARCHITECTURES)]
    z = map_batches(method.encode, x, BATCH)
    line = interpolate(
        method,
        z[:ARCHITECTURES],
        z[ARCHITECTURES:],
        columns=COLUMNS,
        ends=(x[:ARCHITECTURES], x[ARCHITECTURES:]),
    )
    pictures['fig4c'] = _grid(line)
    drawn = gallery.latents(2 * ARCHITECTURES)
    line = interpolate(method, drawn[:ARCHITECTURES], drawn[ARCHITECTURES:], columns=COLUMNS)
    pictures['fig4_samples'] = _grid(line)
    directions = np.stack([gallery.direction(name) for name in gallery.names])
    for figure, start in starts.items():
        walk = traverse(method, start, directions, reach=REACH, columns=COLUMNS)
        pictures[figure] = _grid(walk)
    return dict(sorted(pictures.items()))


def fig6(gallery: Gallery) -> dict[str, np.ndarray]:
    """Six test images above their reconstructions (a), and 36 samples (the paper's b, c or d)."""
    x = gallery.test.x[gallery.choose(gallery.test, 6)]
    x_hat = image_grid.to_uint8(map_batches(gallery.method.reconstruct, x, BATCH))
    return {
        'fig6a': image_grid.pairs(x, x_hat, columns=6),
        'fig6_samples': image_grid.grid(gallery.samples(36), columns=6),
    }


def attribute_figure(gallery: Gallery, *, number: int) -> dict[str, np.ndarray]:
    """Figs. 7 to 11: test images without (a, b) and with (c, d) an attribute, moved along it.

    Args:
        gallery: of data with attributes or labels.
        number: of the figure, 7 for the first of the attributes.

    Raises:
        UsageError: there are not as many attributes.
    """
    names = gallery.names
    if number - 7 >= len(names):
        raise UsageError(f'fig{number}: there are no more attributes than {", ".join(names)}')
    name = names[number - 7]
    without, with_it = (
        gallery.choose(gallery.test, 2 * ARCHITECTURES, name=name, positive=positive)
        for positive in (False, True)
    )
    chosen = dict(
        a=without[:ARCHITECTURES],
        b=without[ARCHITECTURES:],
        c=with_it[:ARCHITECTURES],
        d=with_it[ARCHITECTURES:],
    )
    direction = gallery.direction(name)
    pictures = {}
    for letter, rows in chosen.items():
        x = gallery.test.x[rows]
        walk = traverse(gallery.method, x, direction, reach=REACH, columns=COLUMNS)
        pictures[f'fig{number}{letter}'] = _grid(walk)
    return pictures


def fig12(gallery: Gallery) -> dict[str, np.ndarray]:
    """15 samples, each with the 14 training images nearest to it."""
    return {'fig12': gallery.neighbours(15, num=14)}


def strip(gallery: Gallery) -> np.ndarray:
    """Test images above their reconstructions, then two rows of samples: uint8 [h, w, c].

    The test images are those of the pictures in a run's workdir.
    """
    x = gallery.test.x[:STRIP]
    x_hat = image_grid.to_uint8(map_batches(gallery.method.reconstruct, x, BATCH))
    pairs = image_grid.pairs(x, x_hat, columns=len(x))
    samples = image_grid.grid(gallery.samples(2 * len(x)), columns=len(x))
    return np.concatenate([pairs, samples])


GALLERIES = {
    'fig4': fig4,
    'fig6': fig6,
    **{f'fig{n}': functools.partial(attribute_figure, number=n) for n in range(7, 12)},
    'fig12': fig12,
}


def draw(name: str, method: Method, dataset: Dataset, *, seed: int = 0) -> dict[str, np.ndarray]:
    """One of `GALLERIES`; for several, make one `Gallery` and hand it to each.

    Returns:
        uint8 pictures [h, w, c] by the names of the sub-figures.

    Raises:
        UsageError: no such figure, or data or a method that it cannot be drawn of.
    """
    if name not in GALLERIES:
        raise UsageError(f'no figure {name!r}; there are: {", ".join(GALLERIES)}')
    return GALLERIES[name](Gallery(method, dataset, seed=seed))


def caption(part: str, spec: DatasetSpec) -> str:
    """What is to be seen in a picture that `draw` made: rows, columns, and of which images.

    Raises:
        KeyError: no figure has such a part.
    """
    said = {
        'fig4c': 'From one test image to another, by the straight line between their codes.',
        'fig4d': 'Samples, each in front of the training images nearest to it in pixels.',
        'fig4_samples': 'From one sample to another, by the straight line between their codes.',
        'fig6a': 'Test images above their reconstructions.',
        'fig6_samples': 'Samples.',
        'fig12': 'Samples, each in front of the training images nearest to it in pixels.',
    }
    if part in said:
        return said[part]
    names = attribute_names(spec)
    each = ', '.join(names)
    said = {
        'fig4a': f'Training images moved along an attribute that they have, by row: {each}.',
        'fig4b': f'Test images moved along an attribute that they lack, by row: {each}.',
    }
    for number, name in enumerate(names, 7):
        for letter, has in zip('abcd', ('without', 'without', 'with', 'with'), strict=True):
            said[f'fig{number}{letter}'] = f'Test images {has} {name}, moved along it.'
    return f'{said[part]} {_WALKED}'


def _grid(rows: np.ndarray) -> np.ndarray:
    """One picture of images [n, columns, h, w, c]."""
    return image_grid.grid(rows.reshape([-1, *rows.shape[2:]]), columns=rows.shape[1])
