import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.errors import UsageError
from flexae_tf.experiments.exhibits import galleries
from flexae_tf.experiments.exhibits.galleries import (
    COLUMNS,
    GALLERIES,
    REACH,
    Gallery,
    attribute_names,
    caption,
    draw,
    has_attribute,
)
from flexae_tf.experiments.exhibits.nearest import nearest
from flexae_tf.experiments.exhibits.walks import attribute_direction, interpolate, traverse

SHAPE = (2, 3, 1)
PAPER = ('Big_Nose', 'Heavy_Makeup', 'Black_Hair', 'Smiling', 'Male')
CELEBA = data.describe(TrainConfig(dataset='celeba'))


class Linear:
    """Codes are the first `latent_dim` pixels, and what is decoded is black elsewhere."""

    def __init__(self, latent_dim):
        self._weights = tf.eye(6, latent_dim)

    def encode(self, x):
        return tf.reshape(x, [-1, 6]) @ self._weights

    def decode(self, z):
        x = tf.clip_by_value(tf.matmul(z, self._weights, transpose_b=True), 0.0, 1.0)
        return tf.reshape(x, [-1, *SHAPE])

    def reconstruct(self, x):
        return self.decode(self.encode(x))

    def sample_latent(self, num, seed):
        draws = np.random.default_rng(seed).uniform(size=(100, self._weights.shape[1]))
        return tf.constant(draws[:num], tf.float32)


class Priorless(Linear):
    def sample_latent(self, num, seed):
        raise UsageError('no prior')


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def classes(rng):
    """Images of seven classes; no two are equal."""
    spec = DatasetSpec('small', 'images', SHAPE, 140, 105, (0.0, 1.0), num_classes=7)
    parts = [
        Split(rng.integers(0, 256, size=(num, *SHAPE), dtype=np.uint8), rng.permutation(num) % 7)
        for num in (140, 7, 105)
    ]
    assert len(np.unique(np.concatenate([part.x for part in parts]), axis=0)) == 252
    return Dataset(spec, *parts)


@pytest.fixture
def faces(classes, rng):
    """The same images with CelebA's attributes, each of which 40 percent have."""

    def label(split):
        return Split(split.x, attributes=rng.random(size=(len(split), 40)) < 0.4)

    parts = (label(split) for split in (classes.train, classes.validation, classes.test))
    return Dataset(dataclasses.replace(CELEBA, shape=SHAPE), *parts)


def cells(picture, *, columns):
    """The images of a grid: [rows, columns, h, w, c]."""
    height, width, channels = SHAPE
    assert picture.dtype == np.uint8 and picture.shape[1:] == (columns * width, channels)
    return picture.reshape([-1, height, columns, width, channels]).swapaxes(1, 2)


def find(images, split):
    """Where in a split these images are."""
    return [int(np.flatnonzero((split.x == x).all(axis=(1, 2, 3))).item()) for x in images]


def test_direction_by_hand():
    z = np.array([[1.0, 0.0], [3.0, 1.0], [0.0, 10.0], [0.0, 20.0], [6.0, 30.0]], np.float32)
    positive = np.array([True, True, False, False, False])
    assert attribute_direction(z, positive).tolist() == [0.0, -19.5]
    assert attribute_direction(z, ~positive).tolist() == [0.0, 19.5]


def test_direction_of_all_of_celeba():
    # Exactly 2^-10 on a large mean: sums in float32 are off by more than that.
    positive = np.arange(162_770) % 4 == 0
    z = np.where(positive[:, None], 1000.0 + 2.0**-10, 1000.0).astype(np.float32)
    np.testing.assert_allclose(attribute_direction(z, positive), 2.0**-10, rtol=1e-6)


@pytest.mark.parametrize('positive', [False, True])
def test_no_direction_without_another_side(positive):
    with pytest.raises(ValueError, match=f'{3 * positive} of 3'):
        attribute_direction(np.ones([3, 2]), np.full(3, positive))


def test_names_of_attributes():
    assert attribute_names(CELEBA) == PAPER
    five = tuple(f'class {k}' for k in range(5))
    assert attribute_names(data.describe(TrainConfig(dataset='digits'))) == five
    unlabelled = DatasetSpec('folder', 'images', SHAPE, 9, 9, (0.0, 1.0))
    assert attribute_names(dataclasses.replace(unlabelled, num_classes=3)) == five[:3]
    with pytest.raises(UsageError, match='folder has neither attributes nor labels'):
        attribute_names(unlabelled)


def test_who_has_an_attribute(classes):
    split = Split(np.zeros([4, *SHAPE], np.uint8), labels=np.array([6, 0, 2, 6]))
    assert has_attribute(classes.spec, split, 'class 6').tolist() == [True, False, False, True]
    attributes = np.zeros([4, 40], bool)
    attributes[1:3, CELEBA.attributes.index('Smiling')] = True
    split = Split(split.x, attributes=attributes)
    assert has_attribute(CELEBA, split, 'Smiling').tolist() == [False, True, True, False]
    assert not has_attribute(CELEBA, split, 'Male').any()
    with pytest.raises(UsageError, match="no attribute 'class 7'; there are: class 0, .*class 6$"):
        has_attribute(classes.spec, split, 'class 7')
    with pytest.raises(UsageError, match='4 examples lack labels'):
        has_attribute(classes.spec, split, 'class 6')


def test_traverse_moves_along_the_direction(rng):
    x = rng.integers(100, 150, size=(3, *SHAPE), dtype=np.uint8)
    direction = np.array([0.1, -0.2, 0.0, 0.0, 0.0, 0.0])
    walks = traverse(Linear(6), x, direction, reach=1.0, columns=5)
    assert walks.shape == (3, 5, *SHAPE) and walks.dtype == np.uint8
    flat = walks.reshape([3, 5, 6]).astype(float)
    for column, t in enumerate([-1.0, -0.5, 0.0, 0.5, 1.0]):
        moved = x.reshape([3, 6]) + 255.0 * t * direction
        assert np.abs(flat[:, column] - moved).max() <= 0.5 + 1e-3
    assert (np.diff(flat[..., 0], axis=1) > 0).all() and (np.diff(flat[..., 1], axis=1) < 0).all()
    assert (flat[..., 2:] == x.reshape([3, 1, 6])[..., 2:]).all()


def test_each_row_may_have_a_direction():
    x = np.full((2, *SHAPE), 100, np.uint8)
    walks = traverse(Linear(6), x, 0.2 * np.eye(6)[[1, 4]], reach=2.0, columns=3)
    last = walks[:, -1].reshape([2, 6]).tolist()
    assert last == [[100, 202, 100, 100, 100, 100], [100, 100, 100, 100, 202, 100]]


def test_true_images_are_in_the_middle(rng):
    x = rng.integers(1, 256, size=(4, *SHAPE), dtype=np.uint8)
    walks = traverse(Linear(2), x, np.zeros(2), reach=1.0, columns=3)
    np.testing.assert_array_equal(walks[:, 1], x)
    # Of the others the last pixels are lost.
    assert not walks[:, [0, 2]].reshape([4, 2, 6])[..., 2:].any()
    with pytest.raises(ValueError, match='4 has none'):
        traverse(Linear(2), x, np.zeros(2), reach=1.0, columns=4)


def test_interpolations():
    z_a, z_b = np.array([[0.0, 0.2], [1.0, 0.2]]), np.array([[1.0, 0.2], [1.0, 0.6]])
    lines = interpolate(Linear(2), z_a, z_b, columns=6)
    assert lines.shape == (2, 6, *SHAPE) and lines.dtype == np.uint8
    flat = lines.reshape([2, 6, 6])
    assert flat[0, :, 0].tolist() == [0, 51, 102, 153, 204, 255]
    assert (flat[0, :, 1] == 51).all() and (flat[1, :, 0] == 255).all()
    assert flat[1, [0, -1], 1].tolist() == [51, 153]
    ends = np.full([2, *SHAPE], 7, np.uint8), np.full([2, *SHAPE], 8, np.uint8)
    shown = interpolate(Linear(2), z_a, z_b, columns=6, ends=ends)
    assert (shown[:, 0] == 7).all() and (shown[:, -1] == 8).all()
    np.testing.assert_array_equal(shown[:, 1:-1], lines[:, 1:-1])
    with pytest.raises(ValueError, match='2 ends'):
        interpolate(Linear(2), z_a, z_b, columns=1)


def test_choice_is_random_but_fixed(classes):
    gallery, other = (Gallery(Linear(2), classes, seed=seed) for seed in (0, 1))
    chosen = gallery.choose(classes.test, 20).tolist()
    assert chosen == other.choose(classes.test, 20).tolist()
    assert gallery.choose(classes.test, 7).tolist() == chosen[:7]
    assert len(set(chosen)) == 20 and chosen != sorted(chosen)
    assert gallery.choose(classes.test, 5, but=chosen[1:3]).tolist() == [chosen[0], *chosen[3:7]]
    ten = classes.test.take(np.arange(10))
    assert gallery.choose(ten, 10).tolist() == [6, 9, 7, 4, 8, 3, 2, 5, 0, 1]  # for ever


def test_choice_fits(classes):
    gallery = Gallery(Linear(2), classes)
    everyone = gallery.choose(classes.test, 105)
    for positive, num in ((True, 15), (False, 90)):
        chosen = gallery.choose(classes.test, num, name='class 4', positive=positive)
        assert chosen.tolist() == [i for i in everyone if (classes.test.labels[i] == 4) == positive]
    with pytest.raises(UsageError, match='16 images with class 4 .* of 105 images only 15'):
        gallery.choose(classes.test, 16, name='class 4')
    with pytest.raises(UsageError, match='91 images without class 4'):
        gallery.choose(classes.test, 91, name='class 4', positive=False)
    with pytest.raises(UsageError, match='106 images are'):
        gallery.choose(classes.test, 106)


@pytest.mark.parametrize('kind', ['classes', 'faces'])
def test_fig4(kind, request):
    dataset = request.getfixturevalue(kind)
    method = Linear(4)
    pictures = draw('fig4', method, dataset, seed=2)
    assert list(pictures) == ['fig4_samples', 'fig4a', 'fig4b', 'fig4c', 'fig4d']
    walks = [cells(pictures[name], columns=COLUMNS) for name in ('fig4a', 'fig4b')]
    names = attribute_names(dataset.spec)
    codes = dataset.train.x.reshape([140, 6])[:, :4] / 255.0
    sides = ((dataset.train, True), (dataset.test, False))
    for walk, (split, positive) in zip(walks, sides, strict=True):
        middle = find(walk[:, COLUMNS // 2], split)
        assert len(set(middle)) == 5
        for row, index, name in zip(walk, middle, names, strict=True):
            assert has_attribute(dataset.spec, split, name)[index] == positive
            own = has_attribute(dataset.spec, dataset.train, name)
            direction = codes[own].mean(axis=0) - codes[~own].mean(axis=0)
            last = np.clip(split.x[index].ravel()[:4] / 255.0 + REACH * direction, 0.0, 1.0)
            assert np.abs(row[-1].ravel()[:4] - 255.0 * last).max() <= 0.5 + 1e-3
    lines = cells(pictures['fig4c'], columns=COLUMNS)
    assert len({*find(lines[:, 0], dataset.test), *find(lines[:, -1], dataset.test)}) == 10
    between = np.mean([lines[:, 0], lines[:, -1]], axis=0).reshape([5, 6])[:, :4]
    middle = lines[:, COLUMNS // 2].reshape([5, 6])
    assert np.abs(middle[:, :4] - between).max() <= 0.5 + 1e-3 and not middle[:, 4:].any()
    lines = cells(pictures['fig4_samples'], columns=COLUMNS).reshape([5, COLUMNS, 6])[..., :4]
    ends = 255.0 * method.sample_latent(10, 2).numpy()
    for column, line in ((0, ends[:5]), (4, (ends[:5] + ends[5:]) / 2), (COLUMNS - 1, ends[5:])):
        assert np.abs(lines[:, column] - line).max() <= 0.5 + 1e-3
    rows = cells(pictures['fig4d'], columns=5)
    samples = np.round(255.0 * method.sample_latent(5, 2).numpy())
    np.testing.assert_array_equal(rows[:, 0].reshape([5, 6])[:, :4], samples)
    for row in rows:
        assert (
            find(row[1:], dataset.train)
            == nearest(row[:1], dataset.train.x, num=4).indices[0].tolist()
        )


def test_fig6(classes):
    pictures = draw('fig6', Linear(4), classes, seed=2)
    assert list(pictures) == ['fig6a', 'fig6_samples']
    real, rebuilt = cells(pictures['fig6a'], columns=6)
    assert len(set(find(real, classes.test))) == 6
    np.testing.assert_array_equal(rebuilt.reshape([6, 6])[:, :4], real.reshape([6, 6])[:, :4])
    assert not rebuilt.reshape([6, 6])[:, 4:].any()
    samples = cells(pictures['fig6_samples'], columns=6).reshape([36, 6])[:, :4]
    drawn = Linear(4).sample_latent(36, 2).numpy()
    np.testing.assert_array_equal(samples, np.round(255.0 * drawn))


@pytest.mark.parametrize('kind', ['classes', 'faces'])
def test_figs_7_to_11(kind, request):
    dataset = request.getfixturevalue(kind)
    gallery = Gallery(Linear(4), dataset)
    for number, name in zip(range(7, 12), attribute_names(dataset.spec), strict=True):
        pictures = GALLERIES[f'fig{number}'](gallery)
        assert list(pictures) == [f'fig{number}{letter}' for letter in 'abcd']
        has = has_attribute(dataset.spec, dataset.test, name)
        shown = []
        for picture, positive in zip(pictures.values(), [False, False, True, True], strict=True):
            walk = cells(picture, columns=COLUMNS)
            middle = find(walk[:, COLUMNS // 2], dataset.test)
            assert (has[middle] == positive).all() and len(middle) == 5
            shown.extend(middle)
            step = walk[0, -1].ravel() - walk[0, 0].ravel().astype(int)
            direction = gallery.direction(name)
            assert (step[:4] * direction >= 0).all() and step[:4].any()
        assert len(set(shown)) == 20


def test_fig12(classes):
    (picture,) = draw('fig12', Linear(6), classes, seed=1).values()
    rows = cells(picture, columns=15)
    assert rows.shape == (15, 15, *SHAPE)
    for row in rows:
        expected = nearest(row[:1], classes.train.x, num=14).indices[0].tolist()
        assert find(row[1:], classes.train) == expected


@pytest.mark.parametrize('kind', ['classes', 'faces'])
def test_every_picture_says_what_is_in_it(kind, request):
    dataset = request.getfixturevalue(kind)
    gallery = Gallery(Linear(4), dataset)
    said = {p: caption(p, dataset.spec) for f in GALLERIES.values() for p in f(gallery)}
    names = attribute_names(dataset.spec)
    assert ', '.join(names) in said['fig4a'] and f'without {names[4]}, ' in said['fig11b']
    assert f'with {names[0]}, ' in said['fig7c'] and len(said) == 5 + 2 + 5 * 4 + 1


def test_seed_changes_nothing_but_samples(classes):
    one, other = (draw('fig4', Linear(4), classes, seed=seed) for seed in (0, 1))
    same = {name: np.array_equal(one[name], other[name]) for name in one}
    drawn = {'fig4d', 'fig4_samples'}
    assert same == {name: name not in drawn for name in one} and drawn < set(one)


def test_training_images_are_encoded_once(classes, monkeypatch):
    encoded = []

    def spy(function, x, batch_size):
        encoded.append(x is classes.train.x)
        return map_batches(function, x, batch_size)

    map_batches = galleries.map_batches
    monkeypatch.setattr(galleries, 'map_batches', spy)
    gallery = Gallery(Linear(4), classes)
    for figure in GALLERIES.values():
        figure(gallery)
    assert sum(encoded) == 1
    with pytest.raises(UsageError, match='no prior'):
        draw('fig4', Priorless(4), classes)
    assert sum(encoded) == 1  # refused before the long part


def test_what_is_refused(classes, synthetic):
    with pytest.raises(UsageError, match="no figure 'fig5'; there are: fig4, .*fig12$"):
        draw('fig5', Linear(2), classes)
    with pytest.raises(UsageError, match='synthetic_2d has no images'):
        draw('fig6', Linear(2), synthetic)
    three = dataclasses.replace(classes.spec, num_classes=3)
    few = Dataset(three, classes.train, classes.validation, classes.test)
    assert len(cells(draw('fig4', Linear(2), few)['fig4a'], columns=COLUMNS)) == 3
    with pytest.raises(UsageError, match='fig10: .*no more .* than class 0, class 1, class 2$'):
        draw('fig10', Linear(2), few)
    none = Dataset(
        classes.spec, Split(classes.train.x, classes.train.labels * 0), *[classes.test] * 2
    )
    with pytest.raises(UsageError, match='class 3: 0 of 140 codes are positive'):
        draw('fig10', Linear(2), none)
    tiny = Dataset(classes.spec, classes.train.take(np.arange(13)), *[classes.test] * 2)
    with pytest.raises(UsageError, match='14 neighbours .* only 13 training'):
        draw('fig12', Linear(2), tiny)
    unlabelled = dataclasses.replace(classes.spec, num_classes=None)
    folder = Dataset(unlabelled, Split(classes.train.x), *[Split(classes.test.x)] * 2)
    assert len(draw('fig6', Linear(2), folder)) == 2
    with pytest.raises(UsageError, match='neither'):
        draw('fig4', Linear(2), folder)


def test_a_strip_of_test_images_reconstructions_and_samples(classes):
    method = Linear(4)
    gallery = Gallery(method, classes, seed=2)
    first, second, *samples = cells(galleries.strip(gallery), columns=galleries.STRIP)
    shown = find(first, classes.test)
    assert shown == list(range(galleries.STRIP))  # those that a training shows
    kept = classes.test.x[shown].reshape([-1, 6])[:, :4]
    np.testing.assert_array_equal(second.reshape([-1, 6])[:, :4], kept)
    np.testing.assert_array_equal(np.concatenate(samples), gallery.samples(2 * galleries.STRIP))
    few = dataclasses.replace(classes, test=classes.test.take(np.arange(7)))
    assert len(cells(galleries.strip(Gallery(method, few)), columns=7)) == 4
