"""Golden values: every error that would change a score is detected before it is computed."""

import functools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub

from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import preprocessing, verification
from flexae_tf.evaluation.feature_network import FeatureNetwork, tfgan_eval
from tests.evaluation.test_feature_network import (
    STAND_IN,
    TinyInception,
    half_pixel_bilinear,
    random_images,
    tf1_bilinear,
)

needs_stand_in = pytest.mark.skipif(not STAND_IN.is_dir(), reason='no $FLEXAE_TF_INCEPTION')


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('networks') / 'tiny')
    tf.saved_model.save(TinyInception(), folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path / 'hub'))
    return tmp_path / 'cache'


@pytest.fixture
def network(tiny, cache):
    return FeatureNetwork(tiny, 'pool_3', 4, cache=cache)


def record_of(network, cache):
    return cache / 'golden' / f'{network.checksum}.json'


def refusal(network, error_class=MissingDataError):
    with pytest.raises(error_class) as error:
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

    def preprocess(images, resize, size):
        prepared = right(images, resize, size)
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


def test_features_of_first_use_are_stored(tiny, cache, capsys):
    network = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
    network.verify()
    (line,) = capsys.readouterr().out.splitlines()
    path = record_of(network, cache)
    record = json.loads(path.read_text())
    rows = np.array(record['features']['pool_3 tf1_bilinear_299'])
    features = network.features(verification.golden_images(4, (32, 32, 3)))
    np.testing.assert_allclose(rows[:, 1:], features, rtol=1e-5)
    np.testing.assert_allclose(rows[:, 0], np.sqrt(np.mean(features**2, axis=1)), rtol=1e-5)
    for words in ('first use', tiny, network.checksum, f'{rows[0, 1]:.4g}', str(path)):
        assert words in line
    assert record['source'] == tiny and record['is_tfgan'] is False
    assert [p.name for p in (cache / 'golden').iterdir()] == [path.name]

    for batch_size in (1, 7, 50):  # with other rounding
        FeatureNetwork(tiny, 'pool_3', batch_size, cache=cache).verify()
    assert capsys.readouterr().out == ''
    rows[2, 4] += 0.02
    record['features']['pool_3 tf1_bilinear_299'] = rows.tolist()
    path.write_text(json.dumps(record))
    message = refusal(FeatureNetwork(tiny, 'pool_3', 4, cache=cache))
    assert '0.02 away' in message and '--device=cpu' in message and f'{path}' in message


def test_features_are_stored_per_layer_and_resize(tiny, cache, capsys):
    combinations = [('pool_3', 'tf1_bilinear'), ('probe', 'tf1_bilinear')]
    combinations += [('probe', 'half_pixel_bilinear'), ('probe', 'antialiased_bicubic')]
    for _ in range(2):
        for layer, resize in combinations:
            network = FeatureNetwork(tiny, layer, 4, resize=resize, cache=cache)
            network.verify()
    assert len(capsys.readouterr().out.splitlines()) == len(combinations)
    features = json.loads(record_of(network, cache).read_text())['features']
    assert set(features) == {f'{layer} {resize}_299' for layer, resize in combinations}


def test_features_of_another_network_are_refused(tiny, network, cache, monkeypatch):
    network.verify()
    load = tensorflow_hub.load
    for factor, fine in [(1.0001, True), (1.01, False), (-1.0, False), (np.nan, False)]:

        def corrupt_load(folder, factor=factor):
            loaded = load(folder)
            loaded.weights.assign(loaded.weights * factor)
            return loaded

        monkeypatch.setattr(tensorflow_hub, 'load', corrupt_load)
        other = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
        assert other.checksum == network.checksum
        if fine:
            other.verify()
        else:
            refusal(other)


def test_features_that_are_not_finite_are_not_stored(tiny, cache, monkeypatch):
    class Broken(tf.Module):
        def __call__(self, images):
            return {'pool_3': images[:, 0, 0] / 0.0}

    monkeypatch.setattr(tensorflow_hub, 'load', lambda folder: Broken())
    assert 'not finite' in refusal(FeatureNetwork(tiny, 'pool_3', 4, cache=cache))
    assert not cache.exists()


@pytest.mark.parametrize(
    'text',
    ['', '{"features"', '[]', '{}', '{"source": 1, "is_tfgan": false, "features": {"a": "b"}}'],
)
def test_record_corrupt(network, tiny, cache, text):
    network.verify()
    path = record_of(network, cache)
    path.write_text(text)
    assert f'{path}: golden' in refusal(network)
    with pytest.raises(MissingDataError, match='Remove that file'):
        FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
    path.unlink()
    network.verify()


def test_record_of_another_size(network, cache):
    network.verify()
    path = record_of(network, cache)
    record = json.loads(path.read_text())
    record['features']['pool_3 tf1_bilinear_299'].pop()
    path.write_text(json.dumps(record))
    assert 'inf away' in refusal(network)


def test_record_needs_writable_cache(network, cache):
    cache.write_text('a file')
    assert '--cache_dir' in refusal(network, UsageError)


# TF-GAN's own network without its hub


def test_tfgans_network_is_recognized_by_checksum(tiny, cache, tmp_path, capsys, monkeypatch):
    handle = tfgan_eval().INCEPTION_TFHUB
    resolve = tensorflow_hub.resolve
    monkeypatch.setattr(
        tensorflow_hub, 'resolve', lambda path: tiny if path == handle else resolve(path)
    )
    archive = shutil.make_archive(str(tmp_path / 'net'), 'gztar', tiny)
    images = random_images(2, 8, 8, 3)

    from_archive = FeatureNetwork(archive, 'pool_3', 4, cache=cache)
    from_archive.verify()
    assert not from_archive.is_tfgan
    own = FeatureNetwork(None, 'pool_3', 4, cache=cache)
    own.verify()
    assert json.loads(record_of(own, cache).read_text())['source'] == handle
    assert len(capsys.readouterr().out.splitlines()) == 2

    monkeypatch.setattr(tensorflow_hub, 'resolve', resolve)
    from_archive = FeatureNetwork(archive, 'pool_3', 4, cache=cache)
    assert from_archive.is_tfgan
    np.testing.assert_array_equal(from_archive.outputs(images).logits, own.outputs(images).logits)
    assert "TF-GAN's own" in from_archive.describe()
    from_archive.verify()
    FeatureNetwork(archive, 'probe', 4, cache=cache).verify()
    assert FeatureNetwork(archive, 'probe', 4, cache=cache).is_tfgan
    assert not FeatureNetwork(archive, 'pool_3', 4, cache=tmp_path / 'other').is_tfgan


@pytest.mark.parametrize('is_tfgan', [False, True])
def test_record_can_be_stored_in_the_package(
    tiny, network, cache, tmp_path, capsys, monkeypatch, is_tfgan
):
    network.verify()
    checked_in = tmp_path / 'checked_in'
    shutil.copytree(verification.CHECKED_IN, checked_in)
    record = json.loads(record_of(network, cache).read_text())
    text = json.dumps({**record, 'is_tfgan': is_tfgan})
    (checked_in / f'{network.checksum}.json').write_text(text)
    monkeypatch.setattr(verification, 'CHECKED_IN', checked_in)
    capsys.readouterr()
    fresh = FeatureNetwork(tiny, 'pool_3', 4, cache=tmp_path / 'fresh')
    assert fresh.is_tfgan == is_tfgan
    fresh.verify()
    assert capsys.readouterr().out == '' and not (tmp_path / 'fresh').exists()


# The stand-in


@pytest.fixture(scope='module')
def stand_in():
    """`tensorflow_hub.load` with a cache, because loading the stand-in takes seconds."""
    return functools.cache(tensorflow_hub.load)


@needs_stand_in
@pytest.mark.parametrize(
    ('layer', 'batch_size'), [('mixed_7', 1), ('mixed_7', 7), ('mixed_8', 4), ('pool_3', 4)]
)
def test_stand_in_matches_stored_features(stand_in, cache, capsys, monkeypatch, layer, batch_size):
    monkeypatch.setattr(tensorflow_hub, 'load', stand_in)
    network = FeatureNetwork(str(STAND_IN), layer, batch_size, cache=cache)
    network.verify()
    assert capsys.readouterr().out == '' and not cache.exists()


@needs_stand_in
@pytest.mark.parametrize('layer', ['mixed_7', 'mixed_8', 'pool_3'])
def test_stand_in_features_distinguish_resizes(stand_in, cache, monkeypatch, layer):
    monkeypatch.setattr(tensorflow_hub, 'load', stand_in)
    half_pixel = preprocessing.RESIZES['half_pixel_bilinear']
    monkeypatch.setitem(preprocessing.RESIZES, 'tf1_bilinear', half_pixel)
    monkeypatch.setattr(verification, 'verify_preprocessing', lambda _: None)
    network = FeatureNetwork(str(STAND_IN), layer, 4, cache=cache)
    with pytest.raises(MissingDataError, match='golden features are .* away'):
        network.verify()
