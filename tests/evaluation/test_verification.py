"""Golden values: every error that would change a score is detected before it is computed."""

import functools
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.checked_files import read_json, write_json
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import network_graphs, preprocessing, verification
from flexae_tf.evaluation.feature_network import FeatureNetwork
from tests.evaluation.test_feature_network import STAND_IN, half_pixel_bilinear, tf1_bilinear

needs_stand_in = pytest.mark.skipif(not STAND_IN.is_dir(), reason='no $FLEXAE_TF_INCEPTION')


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path / 'hub'))
    return tmp_path / 'cache'


@pytest.fixture
def network(tiny, cache):
    return FeatureNetwork(tiny, 'pool_3', 4, cache=cache)


def record_of(network, cache):
    return cache / 'golden_features' / f'{network.checksum}.json'


def refusal(network):
    with pytest.raises(MissingDataError) as error:
        network.verify()
    assert '\n' not in str(error.value)
    return str(error.value)


# Golden images


def test_golden_images_by_hand():
    images = verification.golden_images(2, (32, 32, 3))
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    assert images[0, 0, 0].tolist() == [0, 60, 120]
    assert images[0, 10, 20, 0] == 5 * 20 + 3 * 10 + 200 // 4
    assert images[0, 31, 31, 2] == 5 * 31 + 3 * 31 + 961 // 4 + 120 - 512
    assert images[1, 3, 2, 1] == 40 + 5 * 2 + 3 * 3 + 12 // 4 + 60


@pytest.mark.parametrize('size', [8, 64, 224, 299])
@pytest.mark.parametrize('resize', preprocessing.RESIZES)
def test_golden_inputs_do_not_depend_on_the_resize(resize, size):
    images = verification.golden_inputs(size)
    assert images.shape == (16, size, size, 3)
    resized = preprocessing.preprocess(
        tf.constant(images, tf.float32), resize, size, (0.0, 255.0)
    ).numpy()
    np.testing.assert_allclose(resized, images, atol=1e-3)


# Input of the network


def by_numpy(resize):
    """Returns `verification.prepared` computed without TensorFlow."""
    values = []
    for shape in verification.SHAPES:
        image = resize(verification.golden_images(1, shape).astype(np.float64))[0]
        compared = np.stack([image[row, column] for row, column in verification.POSITIONS])
        values.append((np.broadcast_to(compared, [len(compared), 3]) - 128.0) / 128.0)
    return np.stack(values)


@pytest.mark.parametrize(
    ('name', 'resize'),
    [('tf1_bilinear', tf1_bilinear), ('half_pixel_bilinear', half_pixel_bilinear)],
)
def test_stored_inputs_follow_the_definition(name, resize):
    checked_in = json.loads((verification.CHECKED_IN / 'preprocessing.json').read_text())
    np.testing.assert_allclose(checked_in[name], by_numpy(resize), atol=2e-5)


def test_stored_inputs_distinguish_resizes():
    checked_in = json.loads((verification.CHECKED_IN / 'preprocessing.json').read_text())
    assert set(checked_in) == set(preprocessing.RESIZES)
    values = np.array([checked_in[resize] for resize in preprocessing.RESIZES])
    assert values.shape[1:] == (3, 8, 3) and values.min() >= -1.0 and values.max() < 1.0
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(values[a] - values[b]).max(axis=(1, 2)).min() > 0.01  # for every shape


@pytest.mark.parametrize('resize', preprocessing.RESIZES)
def test_preprocessing_matches_stored_inputs(resize):
    verification.verify_preprocessing(resize)


@pytest.mark.parametrize('resize', preprocessing.RESIZES)
def test_preprocessing_refuses_wrong_resize(network, monkeypatch, resize):
    for other in set(preprocessing.RESIZES) - {resize}:
        monkeypatch.setitem(preprocessing.RESIZES, resize, preprocessing.RESIZES[other])
        with pytest.raises(MissingDataError, match=f'--resize={resize}: resized .* wrong by up to'):
            verification.verify_preprocessing(resize)
        monkeypatch.undo()


@pytest.mark.parametrize('wrong', ['range', 'halves', 'order', 'grey', 'nan'])
def test_preprocessing_refuses_wrong_values(network, cache, monkeypatch, wrong):
    right = preprocessing.preprocess

    def preprocess(images, resize, size, value_range):
        prepared = right(images, resize, size, value_range)
        return {
            'range': prepared * (128.0 / 127.5) + (128.0 / 127.5 - 1.0),  # x / 127.5 - 1
            'halves': prepared / 2.0,
            'order': prepared[..., ::-1],  # blue first
            'grey': prepared * [1.0, 0.0, 0.0] if images.shape[-1] == 1 else prepared,
            'nan': prepared / 0.0 * 0.0,
        }[wrong]

    monkeypatch.setattr(preprocessing, 'preprocess', preprocess)
    assert 'wrong by up to' in refusal(network)
    assert not cache.exists()


# Features of the network


def test_summary_depends_on_every_feature():
    features = np.random.default_rng(0).normal(size=[16, 2048])
    distances = []
    for column in (0, 1, 63, 1000, 2047):
        other = features.copy()
        other[:, column] += 0.1
        difference = verification.summary(other) - verification.summary(features)
        distances.append(np.linalg.norm(difference, axis=1))
    np.testing.assert_allclose(distances, 0.1, rtol=1e-6)
    many = features + np.random.default_rng(1).normal(size=[16, 2048])
    difference = verification.summary(many) - verification.summary(features)
    ratio = np.linalg.norm(difference, axis=1) / np.linalg.norm(many - features, axis=1)
    assert 0.6 < ratio.min() and ratio.max() < 1.4


def test_features_of_first_use_are_stored(tiny, cache, capsys):
    network = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
    network.verify()
    (line,) = capsys.readouterr().out.splitlines()
    path = record_of(network, cache)
    record = json.loads(path.read_text())
    rows = np.array(record['features']['pool_3'])
    features = network.features(verification.golden_inputs(299))
    np.testing.assert_allclose(rows, verification.summary(features), rtol=1e-5, atol=1e-6)
    for words in ('first use', tiny, network.checksum, f'{rows[0, 0]:.4g}', str(path)):
        assert words in line
    assert record['source'] == tiny
    assert [p.name for p in (cache / 'golden_features').iterdir()] == [path.name]

    for batch_size in (1, 7, 50):  # with other rounding
        FeatureNetwork(tiny, 'pool_3', batch_size, cache=cache).verify()
    assert capsys.readouterr().out == ''
    rows[2, 4] += 0.02
    record['features']['pool_3'] = rows.tolist()
    path.write_text(json.dumps(record))
    assert f'{path}:1: changed' in refusal(FeatureNetwork(tiny, 'pool_3', 4, cache=cache))
    del record['checksum']
    write_json(path, record)
    message = refusal(FeatureNetwork(tiny, 'pool_3', 4, cache=cache))
    assert re.search(r'differ from .* by 0\.\d+ of their norm', message)
    assert '--device=cpu' in message and f'{path}' in message


def test_features_are_stored_per_layer(tiny, cache, capsys):
    combinations = [('pool_3', 'tf1_bilinear'), ('probe', 'tf1_bilinear')]
    combinations += [('probe', 'half_pixel_bilinear'), ('probe', 'antialiased_bicubic')]
    for layer, resize in combinations:
        network = FeatureNetwork(tiny, layer, 4, resize=resize, cache=cache)
        network.verify()
    assert len(capsys.readouterr().out.splitlines()) == 2
    features = json.loads(record_of(network, cache).read_text())['features']
    assert set(features) == {'pool_3', 'probe'}


def test_features_of_another_network_are_refused(tiny, network, cache, monkeypatch):
    network.verify()
    load = network_graphs.load
    for factor, fine in [(1.0001, True), (1.01, False), (-1.0, False), (np.nan, False)]:

        def corrupt_load(path, factor=factor):
            loaded = load(path)
            loaded._model.weights.assign(loaded._model.weights * factor)
            return loaded

        monkeypatch.setattr(network_graphs, 'load', corrupt_load)
        other = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
        assert other.checksum == network.checksum
        if fine:
            other.verify()
        else:
            refusal(other)


def test_features_that_are_not_finite_are_not_stored(tiny, cache, monkeypatch):
    def broken(images, names):
        return {'pool_3': images[:, 0, 0] / 0.0}

    monkeypatch.setattr(network_graphs, 'load', lambda path: broken)
    assert 'not finite' in refusal(FeatureNetwork(tiny, 'pool_3', 4, cache=cache))
    assert not cache.exists()


@pytest.mark.parametrize(
    'text',
    [
        *('', '{"features"', '[]', '{}'),
        '{"source": "a", "is_tfgan": false, "features": {"a": "b"}}',
        '{"source": "a", "is_tfgan": 0, "features": {}}',
    ],
)
def test_record_corrupt(network, cache, text):
    network.verify()
    path = record_of(network, cache)
    path.write_text(text)
    message = refusal(network)
    assert f'{path}:1: ' in message and 'Remove that file' in message
    path.unlink()
    network.verify()


def test_record_of_another_size(network, cache):
    network.verify()
    path = record_of(network, cache)
    record = read_json(path, object)
    record['features']['pool_3'].pop()
    write_json(path, record)
    assert 'by inf of' in refusal(network)


def test_record_is_optional_where_the_cache_cannot_be_written(network, cache, capsys):
    cache.write_text('a file')
    network.verify()
    assert 'are not kept' in capsys.readouterr().out


# The stand-in


@pytest.fixture(scope='module')
def stand_in():
    """`network_graphs.load` with a cache, because loading the stand-in takes seconds."""
    return functools.cache(network_graphs.load)


@needs_stand_in
@pytest.mark.parametrize(
    ('layer', 'batch_size'), [('mixed_7', 1), ('mixed_7', 7), ('mixed_8', 4), ('pool_3', 4)]
)
def test_stand_in_matches_stored_features(stand_in, cache, capsys, monkeypatch, layer, batch_size):
    monkeypatch.setattr(network_graphs, 'load', stand_in)
    network = FeatureNetwork(str(STAND_IN), layer, batch_size, cache=cache)
    network.verify()
    assert not network.is_tfgan
    assert capsys.readouterr().out == '' and not cache.exists()
