"""Feature networks other than Inception."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import declaration
from flexae_tf.evaluation.feature_network import FeatureNetwork

VALID = dict(name='tiny_1', image_size=16, value_range=[0, 1], resize='antialiased_bicubic')


class Means(tf.Module):
    """A network of two outputs: mean and maximum of its input."""

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
    def __call__(self, images):
        return {
            'mean': tf.reduce_mean(images, axis=[1, 2]),
            'maximum': tf.reduce_max(images, axis=[1, 2]),
        }


@pytest.fixture(autouse=True)
def cache(tmp_path):
    return tmp_path / 'cache'


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('networks') / 'means'
    tf.saved_model.save(Means(), str(folder))
    return folder


@pytest.fixture
def declare(saved):
    """`declare(**fields)`: the folder of the network, with this declaration."""

    def write(**fields):
        document = {k: v for k, v in (VALID | fields).items() if v is not None}
        (saved / 'feature_network.json').write_text(json.dumps(document))
        return str(saved)

    return write


def network_of(folder, cache, layer=None, **options):
    return FeatureNetwork(None, layer, 2, declared=folder, cache=cache, **options)


def test_network_takes_images_as_declared(declare, cache):
    images = np.random.default_rng(0).integers(0, 256, [5, 16, 16, 3]).astype(np.uint8)
    network = network_of(declare(value_range=[-2, 2]), cache, 'mean')
    expected = images.mean(axis=(1, 2)) / 255 * 4 - 2
    np.testing.assert_allclose(network.features(images), expected, atol=1e-5)
    assert (network.name, network.layer) == ('tiny_1', 'mean')
    assert network.resize == 'antialiased_bicubic_16'
    assert not network.is_tfgan and not network.has_logits
    assert 'fd_tiny_1_mean_' in network.describe()
    network.verify()


def test_network_resizes_as_declared(declare, cache):
    images = np.random.default_rng(0).integers(0, 256, [2, 28, 28, 1]).astype(np.uint8)
    for resize, antialias in [('antialiased_bicubic', True), ('half_pixel_bilinear', False)]:
        method = 'bicubic' if antialias else 'bilinear'
        x = tf.image.resize(images, [16, 16], method, antialias=antialias)
        expected = tf.reduce_max(tf.clip_by_value(x, 0, 255), axis=[1, 2]) / 255
        network = network_of(declare(resize=resize, layer='maximum'), cache, resize='tf1_bilinear')
        assert network.resize == f'{resize}_16'
        features = network.features(images)
        np.testing.assert_allclose(features, np.repeat(expected, 3, axis=1), atol=1e-5)


def test_checksum_covers_values_of_the_input(declare, cache):
    first = network_of(declare(layer='mean'), cache).checksum
    assert network_of(declare(name='other', layer='maximum'), cache).checksum == first
    others = [dict(value_range=[0, 2]), dict(value_range=[-1, 1])]
    checksums = {network_of(declare(**fields, layer='mean'), cache).checksum for fields in others}
    assert len(checksums | {first}) == 3


def test_layer_defaults_to_the_declared_or_the_only_one(declare, cache, tmp_path):
    assert network_of(declare(layer='maximum'), cache).layer == 'maximum'
    assert network_of(declare(layer='maximum'), cache, 'mean').layer == 'mean'
    with pytest.raises(MissingDataError, match='outputs maximum, mean. Choose one'):
        network_of(declare(), cache)
    with pytest.raises(MissingDataError, match='--feature_layer=pool_3: .* only maximum, mean'):
        network_of(declare(layer='pool_3'), cache)
    model = keras.Sequential([keras.Input([16, 16, 3]), keras.layers.Flatten()])
    model.export(str(tmp_path / 'net'), verbose=False)
    (tmp_path / 'net' / 'feature_network.json').write_text(json.dumps(VALID))
    assert network_of(str(tmp_path / 'net'), cache).layer == 'output_0'


def test_network_of_another_size_is_refused(declare, cache):
    with pytest.raises(MissingDataError, match=r'--feature_network: .* images \(2, 20, 20, 3\)'):
        network_of(declare(image_size=20), cache)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        (dict(name=None), "no field 'name'"),
        (dict(image_size=None), "no field 'image_size'"),
        (dict(value_range=None), "no field 'value_range'"),
        (dict(resize=None), "no field 'resize'"),
        (dict(colour='rgb'), "unknown field 'colour', not one of name, image_size"),
        (dict(name=''), "name is '', not small letters"),
        (dict(name='Dino V2'), "name is 'Dino V2', not small letters"),
        (dict(name='mixed_7'), "name is 'mixed_7', not small letters"),
        (dict(name='pixels'), "name is 'pixels', not small letters"),
        (dict(name=7), 'name is 7, not small letters'),
        (dict(image_size=0), 'image_size is 0, not an integer'),
        (dict(image_size='224'), "image_size is '224', not an integer"),
        (dict(image_size=True), 'image_size is True, not an integer'),
        (dict(value_range=[0]), r'value_range is \[0\], not two numbers'),
        (dict(value_range=[1, 0]), r'value_range is \[1, 0\], not two numbers'),
        (dict(value_range=[0, float('nan')]), "json:1: 'value_range' is not finite"),
        (dict(value_range='0..1'), "value_range is '0..1', not two numbers"),
        (dict(resize='bicubic'), "resize is 'bicubic', not one of tf1_bilinear, half_pixel"),
        (dict(resize=['bicubic']), 'resize is .* not one of'),
        (dict(layer=''), "layer is '', not the name"),
        (dict(layer=3), 'layer is 3, not the name'),
    ],
)
def test_declaration_refuses_fields(declare, fields, words):
    with pytest.raises(MissingDataError, match=words) as error:
        declaration.read(declare(**fields))
    message = str(error.value)
    assert message.startswith('--feature_network=') and 'feature_network.json:' in message
    assert '\n' not in message


@pytest.mark.parametrize('text', ['', '{', '[]', '"name"', '\xff'])
def test_declaration_refuses_other_files(tmp_path, text):
    (tmp_path / 'feature_network.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(MissingDataError, match='feature_network.json:1: '):
        declaration.read(str(tmp_path))


def test_declaration_is_needed(tmp_path, cache):
    with pytest.raises(MissingDataError, match='feature_network.json: No such file'):
        network_of(str(tmp_path), cache)
    pathlib.Path(tmp_path / 'feature_network.json').write_text(json.dumps(VALID))
    with pytest.raises(MissingDataError, match='--feature_network=.*saved_model.pb'):
        network_of(str(tmp_path), cache)


def hidden(x, value):
    """Returns a value that TensorFlow does not know before the network runs."""
    return tf.cast(0.0 * x[0, 0], tf.int32) + value


class Foreign(tf.Module):
    """A network that returns `change` of the means of its input."""

    def __init__(self, change):
        super().__init__()
        self._change = change

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
    def __call__(self, images):
        return {'mean': self._change(tf.reduce_mean(images, axis=[1, 2]))}


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda x: x[:0], 'not a vector for each image'),
        (lambda x: x[: hidden(x, 0)], r'returns \[0, 3\]'),
        (lambda x: x[: hidden(x, 1)], r'returns \[1, 3\]'),
        (lambda x: tf.repeat(x, hidden(x, 2), axis=0), r'returns \[4, 3\]'),
        (lambda x: x[:, : hidden(x, 0)], r'returns \[2, 0\]'),
        (lambda x: tf.reshape(x, [hidden(x, 5), -1]), 'InvalidArgumentError'),
        (lambda x: x * np.nan, 'not finite'),
        (lambda x: tf.RaggedTensor.from_tensor(x), 'a RaggedTensor, not a vector'),
    ],
)
def test_network_that_returns_other_shapes_is_refused(tmp_path, cache, change, words):
    folder = tmp_path / 'network'
    tf.saved_model.save(Foreign(change), str(folder))
    (folder / 'feature_network.json').write_text(json.dumps(VALID))
    with pytest.raises(MissingDataError, match=words) as error:
        network_of(str(folder), cache).verify()
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('kind', ['pipe', 'device', 'folder'])
def test_network_of_parts_that_are_no_files_is_refused(declare, cache, tmp_path, kind):
    folder = tmp_path / 'network'
    shutil.copytree(declare(), folder)
    part = folder / 'variables' / 'variables.index'
    part.unlink()
    if kind == 'pipe':
        os.mkfifo(part)
    else:
        part.symlink_to('/dev/zero' if kind == 'device' else tmp_path)
    with pytest.raises(MissingDataError, match='not a regular file'):
        network_of(str(folder), cache)
