"""Grids of images of linear methods, whose codes are pixels."""

import dataclasses
import math
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.errors import UsageError
from flexae_tf.experiments import image_grids
from flexae_tf.experiments.image_grids import COLUMNS, GALLERIES, REACH, Gallery, has_attribute
from flexae_tf.metrics.pixels import nearest_images
from tests.data import faces

SHAPE = (2, 3, 1)
PAPER = ['Big_Nose', 'Heavy_Makeup', 'Black_Hair', 'Smiling', 'Male']
CELEBA = data.describe(TrainConfig(dataset='celeba'))


class Linear:
    """Codes are the first `latent_dim` pixels; decoded images are black elsewhere."""

    def __init__(self, latent_dim, shape=SHAPE):
        self._latent_dim, self._shape = latent_dim, shape
        self.traced = self

    def encode(self, x):
        return tf.reshape(x, [len(x), -1])[:, : self._latent_dim]

    def decode(self, z):
        black = math.prod(self._shape) - self._latent_dim
        x = tf.pad(tf.clip_by_value(z, 0.0, 1.0), [[0, 0], [0, black]])
        return tf.reshape(x, [-1, *self._shape])

    def reconstruct(self, x):
        return self.decode(self.encode(x))

    def sample_latent(self, num, seed):
        samples = np.random.default_rng(seed).uniform(size=(100, self._latent_dim))
        return tf.constant(samples[:num], tf.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def classes(rng):
    """Images of seven classes, all different."""
    spec = DatasetSpec('small', 'images', SHAPE, 140, 105, (0.0, 1.0), num_classes=7)
    images = (rng.integers(0, 256, (num, *SHAPE), np.uint8) for num in (140, 7, 105))
    parts = [Split(x, rng.permutation(len(x)) % 7) for x in images]
    assert len(np.unique(np.concatenate([part.x for part in parts]), axis=0)) == 252
    return Dataset(spec, *parts)


@pytest.fixture
def celeba(classes, rng):
    """The same images with CelebA's attributes, each of which 40 percent have."""
    images = (split.x for split in (classes.train, classes.validation, classes.test))
    parts = (Split(x, attributes=rng.random(size=(len(x), 40)) < 0.4) for x in images)
    return Dataset(dataclasses.replace(CELEBA, shape=SHAPE), *parts)


@pytest.fixture(params=['classes', 'celeba'])
def dataset(request):
    return request.getfixturevalue(request.param)


def draw(name, method, dataset, *, seed=0):
    """Returns the grids of a figure, without captions."""
    parts = GALLERIES[name](Gallery(method, dataset, seed=seed))
    return {part: grid for part, (grid, _) in parts.items()}


def cells(grid, *, columns, shape=SHAPE):
    """Returns the images of a grid: [rows, columns, h, w, c]."""
    height, width, channels = shape
    assert grid.dtype == np.uint8 and grid.shape[1:] == (columns * width, channels)
    return grid.reshape([-1, height, columns, width, channels]).swapaxes(1, 2)


def find(images, split):
    """Returns the indices of images in a split."""
    return [int(np.flatnonzero((split.x == x).all(axis=(1, 2, 3))).item()) for x in images]


def check_neighbours(rows, split):
    """Asserts that each row shows an image and the nearest ones of a split."""
    expected = nearest_images(rows[:, 0], split.x, num=rows.shape[1] - 1)
    assert [find(row[1:], split) for row in rows] == expected.tolist()


def check_directions(gallery, codes, *, num, others):
    """Asserts that every attribute grows along its own direction, and the others far less.

    Args:
        gallery: a gallery of drawn faces.
        codes: codes of the test faces.
        num: number of test faces that are moved.
        others: how much other attributes may change, relative to the own one.

    Returns:
        {name: (own values along the direction, largest change of another attribute)}, of means.
    """
    chosen, measured = gallery.choose(gallery.test, [''] * num), {}
    grids = [gallery.traverse(gallery.test, chosen, [name], positive=False)[0] for name in PAPER]
    images = np.array([cells(grid, columns=COLUMNS, shape=CELEBA.shape) for grid in grids])
    decoded = np.delete(images, COLUMNS // 2, axis=2).swapaxes(1, 2)  # without the test faces
    means = faces.presence(decoded, codes[chosen]).mean(axis=2)  # [PAPER, COLUMNS - 1, DRAWN]
    for name, walk in zip(PAPER, means, strict=True):
        own = faces.DRAWN.index(name)
        change = np.abs(np.delete(walk[-1] - walk[0], own)).max()
        measured[name] = walk[:, own].round(2).tolist(), change
        assert (np.diff(walk[:, own]) > 0.0).all(), measured
        assert change < others * (walk[-1] - walk[0])[own], measured
    return measured


def with_codes(gallery, codes, labels):
    """Returns a gallery whose training images have these codes and labels."""
    gallery.train = Split(np.zeros([len(labels), *SHAPE], np.uint8), labels=np.asarray(labels))
    gallery.codes = np.asarray(codes, np.float32)
    return gallery


def test_direction_by_hand_and_of_all_of_celeba_in_float64(classes):
    z = [[1.0, 0.0], [3.0, 1.0], [0.0, 10.0], [0.0, 20.0], [6.0, 30.0]]
    gallery = with_codes(Gallery(Linear(2), classes), z, [1, 1, 0, 0, 0])
    assert gallery.direction('class 1').tolist() == [0.0, -19.5]
    assert gallery.direction('class 0').tolist() == [0.0, 19.5]
    for label, num in ((1, 5), (0, 0)):  # needs both sides
        with_codes(gallery, z, [label] * 5)
        with pytest.raises(UsageError, match=f'class 1: {num} of 5'):
            gallery.direction('class 1')
    # Exactly 2^-10 on a large mean: sums in float32 are off by more.
    positive = np.arange(162_770) % 4 == 0
    z = np.where(positive[:, None], 1000.0 + 2.0**-10, 1000.0)
    with_codes(gallery, z, positive.astype(int))
    np.testing.assert_allclose(gallery.direction('class 1'), 2.0**-10, rtol=1e-6)


def test_attributes_are_the_papers_or_classes(classes):
    assert image_grids.attribute_names(CELEBA) == PAPER
    five = [f'class {k}' for k in range(5)]
    assert image_grids.attribute_names(data.describe(TrainConfig(dataset='digits'))) == five
    unlabelled = DatasetSpec('folder', 'images', SHAPE, 9, 9, (0.0, 1.0))
    assert image_grids.attribute_names(dataclasses.replace(unlabelled, num_classes=3)) == five[:3]
    with pytest.raises(UsageError, match='--dataset=folder: no attributes and no labels'):
        image_grids.attribute_names(unlabelled)
    x, attributes = np.zeros([4, *SHAPE], np.uint8), np.zeros([4, 40], bool)
    attributes[1:3, CELEBA.attributes.index('Smiling')] = True
    split = Split(x, labels=np.array([6, 0, 2, 6]))
    assert has_attribute(classes.spec, split, 'class 6').tolist() == [True, False, False, True]
    split = Split(x, attributes=attributes)
    assert has_attribute(CELEBA, split, 'Smiling').tolist() == [False, True, True, False]
    assert not has_attribute(CELEBA, split, 'Male').any()


@pytest.mark.parametrize('num', [1, 3])
def test_traverse_moves_images_along_one_direction_or_one_for_each(classes, rng, num):
    x = rng.integers(100, 150, size=(3, *SHAPE), dtype=np.uint8)
    directions = rng.uniform(-0.3, 0.3, size=(num, 4))
    gallery = Gallery(Linear(4), classes)
    gallery.direction = lambda name: directions[int(name)]
    names = [str(i) for i in range(num)]
    grid, _ = gallery.traverse(Split(x), np.arange(3), names, positive=True)
    walks = cells(grid, columns=COLUMNS).reshape([3, COLUMNS, 6])
    t = np.linspace(-REACH, REACH, COLUMNS)[:, None]
    moved = x.reshape([3, 1, 6])[..., :4] + 255.0 * t * directions[:, None]
    assert np.abs(walks[..., :4] - np.clip(moved, 0.0, 255.0)).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(walks[:, COLUMNS // 2], x.reshape([3, 6]))  # true images
    assert not np.delete(walks, COLUMNS // 2, axis=1)[..., 4:].any()  # pixels are lost


def test_interpolate_along_a_line(classes):
    z = np.array([[0.0, 0.2], [1.0, 0.2], [0.8, 0.2], [1.0, 0.6]])
    gallery = Gallery(Linear(2), classes)
    lines = cells(gallery.interpolate(z), columns=COLUMNS)
    first, second = lines.reshape([2, COLUMNS, 6])[..., :2]
    assert first[::2].tolist() == [[0, 51], [51, 51], [102, 51], [153, 51], [204, 51]]
    assert (second[:, 0] == 255).all() and second[[0, -1], 1].tolist() == [51, 153]
    ends = np.repeat(np.uint8([7, 8]), 2 * 6).reshape([4, *SHAPE])
    shown = cells(gallery.interpolate(z, ends), columns=COLUMNS)
    assert (shown[:, 0] == 7).all() and (shown[:, -1] == 8).all()
    np.testing.assert_array_equal(shown[:, 1:-1], lines[:, 1:-1])


def test_choose_is_random_but_fixed_and_takes_attributes(classes):
    gallery = Gallery(Linear(2), classes)
    chosen = gallery.choose(classes.test, [''] * 20).tolist()
    assert chosen == Gallery(Linear(2), classes, seed=1).choose(classes.test, [''] * 20).tolist()
    assert gallery.choose(classes.test, [''] * 7).tolist() == chosen[:7]
    assert len(set(chosen)) == 20 and chosen != sorted(chosen)
    first = f'class {classes.test.labels[chosen[0]]}'
    assert gallery.choose(classes.test, [first, '', '']).tolist() == chosen[:3]  # none twice
    chosen = gallery.choose(classes.test.take(np.arange(10)), [''] * 10).tolist()
    assert chosen == [6, 9, 7, 4, 8, 3, 2, 5, 0, 1]  # must not change
    everyone = gallery.choose(classes.test, [''] * 105)
    for positive, num in ((True, 15), (False, 90)):
        chosen = gallery.choose(classes.test, ['class 4'] * num, positive)
        assert chosen.tolist() == [i for i in everyone if (classes.test.labels[i] == 4) == positive]
    for name, num, positive, words in (
        ('class 4', 16, True, '16 images with class 4 needed, 15 of 105'),
        ('class 4', 91, False, '91 images without class 4'),
        ('', 106, True, '106 images needed'),
    ):
        with pytest.raises(UsageError, match=words):
            gallery.choose(classes.test, [name] * num, positive)


def test_fig4_traverses_interpolates_and_finds_neighbours(dataset):
    method = Linear(4)
    images = draw('fig4', method, dataset, seed=2)
    assert list(images) == ['fig4_samples', 'fig4a', 'fig4b', 'fig4c', 'fig4d']
    names = image_grids.attribute_names(dataset.spec)
    codes = dataset.train.x.reshape([140, 6])[:, :4] / 255.0
    for part, split, positive in (('a', dataset.train, True), ('b', dataset.test, False)):
        walk = cells(images[f'fig4{part}'], columns=COLUMNS)
        middle = find(walk[:, COLUMNS // 2], split)
        assert len(set(middle)) == 5
        for row, index, name in zip(walk, middle, names, strict=True):
            assert has_attribute(dataset.spec, split, name)[index] == positive
            own = has_attribute(dataset.spec, dataset.train, name)
            direction = codes[own].mean(axis=0) - codes[~own].mean(axis=0)
            last = np.clip(split.x[index].ravel()[:4] / 255.0 + REACH * direction, 0.0, 1.0)
            assert np.abs(row[-1].ravel()[:4] - 255.0 * last).max() <= 0.5 + 1e-3
    lines = cells(images['fig4c'], columns=COLUMNS)
    assert len(set(find([*lines[:, 0], *lines[:, -1]], dataset.test))) == 10
    first, middle, last = lines.reshape([5, COLUMNS, 6])[:, ::4].swapaxes(0, 1).astype(float)
    assert np.abs(middle - (first + last) / 2)[:, :4].max() <= 0.5 + 1e-3
    assert not middle[:, 4:].any()
    lines = cells(images['fig4_samples'], columns=COLUMNS).reshape([5, COLUMNS, 6])[..., :4]
    ends = 255.0 * method.sample_latent(10, 2).numpy()
    for column, line in ((0, ends[:5]), (4, (ends[:5] + ends[5:]) / 2), (COLUMNS - 1, ends[5:])):
        assert np.abs(lines[:, column] - line).max() <= 0.5 + 1e-3
    rows = cells(images['fig4d'], columns=5)
    samples = np.round(255.0 * method.sample_latent(5, 2).numpy())
    np.testing.assert_array_equal(rows[:, 0].reshape([5, 6])[:, :4], samples)
    check_neighbours(rows, dataset.train)


@pytest.fixture(scope='module')
def drawn():
    """Gallery of drawn faces that differ only in attributes, with pixels as codes; their codes."""
    codes = faces.sample(64)
    codes[:, len(faces.DRAWN) :] = 0.4
    split = Split(faces.small(codes), attributes=faces.attributes_of(codes))
    method = Linear(math.prod(CELEBA.shape), CELEBA.shape)
    return Gallery(method, Dataset(CELEBA, split, split, split)), codes


def test_directions_of_drawn_faces_change_their_own_attribute(drawn):
    check_directions(*drawn, num=32, others=0.25)


def test_fig12_finds_a_sample_that_is_a_training_image(drawn):
    gallery, _ = drawn
    chosen = gallery.choose(gallery.train, [''] * 15)
    gallery.latents = lambda num: gallery.codes[chosen[:num]]
    ((grid, _),) = GALLERIES['fig12'](gallery).values()
    rows = cells(grid, columns=15, shape=CELEBA.shape)
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
    assert [find(row[1:2], gallery.train) for row in rows] == [[i] for i in chosen]


def test_fig6_and_strip_have_images_reconstructions_and_samples(classes):
    images = draw('fig6', Linear(4), classes, seed=2)
    assert list(images) == ['fig6a', 'fig6_samples']
    pairs = cells(images['fig6a'], columns=6)
    assert len(set(find(pairs[0], classes.test))) == 6
    strip = cells(image_grids.strip(Gallery(Linear(4), classes, seed=2)), columns=20)
    np.testing.assert_array_equal(strip[0], classes.test.x[:20])
    for real, rebuilt in (pairs.reshape([2, 6, 6]), strip[:2].reshape([2, 20, 6])):
        np.testing.assert_array_equal(rebuilt[:, :4], real[:, :4])
        assert not rebuilt[:, 4:].any()
    for grid, num in ((cells(images['fig6_samples'], columns=6), 36), (strip[2:], 40)):
        expected = np.round(255.0 * Linear(4).sample_latent(num, 2).numpy())
        np.testing.assert_array_equal(grid.reshape([num, 6])[:, :4], expected)


def test_figs_7_to_12_move_test_images_and_show_neighbours(dataset):
    gallery = Gallery(Linear(4), dataset)
    for number, name in zip(range(7, 12), image_grids.attribute_names(dataset.spec), strict=True):
        images = draw(f'fig{number}', Linear(4), dataset)
        assert list(images) == [f'fig{number}{letter}' for letter in 'abcd']
        has = has_attribute(dataset.spec, dataset.test, name)
        shown = []
        for image, positive in zip(images.values(), [False, False, True, True], strict=True):
            walk = cells(image, columns=COLUMNS)
            middle = find(walk[:, COLUMNS // 2], dataset.test)
            assert (has[middle] == positive).all() and len(middle) == 5
            shown.extend(middle)
            step = (walk[0, -1].astype(int) - walk[0, 0]).ravel()[:4]
            assert (step * gallery.direction(name) >= 0).all() and step.any()
        assert len(set(shown)) == 20
    (image,) = draw('fig12', Linear(6), dataset, seed=1).values()
    rows = cells(image, columns=15)
    assert rows.shape == (15, 15, *SHAPE)
    check_neighbours(rows, dataset.train)


def test_captions_name_the_attributes_and_the_seed_changes_only_samples(dataset):
    gallery = Gallery(Linear(4), dataset)
    parts = [part for figure in GALLERIES.values() for part in figure(gallery).items()]
    assert len(parts) == 5 + 2 + 5 * 4 + 1
    captions = {name: caption.split('.')[0] for name, (_, caption) in parts}
    names = image_grids.attribute_names(dataset.spec)
    assert captions['fig4a'] == f'Training images with {", ".join(names)}'
    assert captions['fig4b'] == f'Test images without {", ".join(names)}'
    assert captions['fig7c'] == f'Test images with {names[0]}'
    assert captions['fig11b'] == f'Test images without {names[4]}'
    one, other = (draw('fig4', Linear(4), dataset, seed=seed) for seed in (0, 1))
    same = {name for name in one if np.array_equal(one[name], other[name])}
    assert same == set(one) - {'fig4d', 'fig4_samples'}


def test_gallery_encodes_training_images_once_and_refuses_unfit_data(
    classes, synthetic, monkeypatch
):
    spy = unittest.mock.Mock(side_effect=image_grids.map_batches)
    monkeypatch.setattr(image_grids, 'map_batches', spy)
    gallery = Gallery(Linear(4), classes)
    for figure in GALLERIES.values():
        figure(gallery)
    no_prior = Linear(4)
    no_prior.sample_latent = unittest.mock.Mock(side_effect=UsageError('no prior'))
    with pytest.raises(UsageError, match='no prior'):
        draw('fig4', no_prior, classes)
    encoded = [call.args[1] is classes.train.x for call in spy.call_args_list]
    assert sum(encoded) == 1  # no second time: refused before the long part
    with pytest.raises(UsageError, match='synthetic_2d: no images'):
        draw('fig6', Linear(2), synthetic)
    three = dataclasses.replace(classes.spec, num_classes=3)
    few = Dataset(three, classes.train, classes.validation, classes.test)
    assert len(cells(draw('fig4', Linear(2), few)['fig4a'], columns=COLUMNS)) == 3
    with pytest.raises(UsageError, match='--artifact=fig10: only 3 attributes'):
        draw('fig10', Linear(2), few)
    tiny = Dataset(classes.spec, classes.train.take(range(3)), classes.validation, classes.test)
    with pytest.raises(UsageError, match='4 neighbours needed, 3 training images'):
        draw('fig4', Linear(2), tiny)
