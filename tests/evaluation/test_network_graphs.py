"""The frozen Inception graph, and SavedModels of several kinds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.evaluation.network_graphs import FrozenInception, UnknownOutputError, load
from tests.evaluation.networks import TinyInception, frozen_inception


def random_input(num):
    return np.random.default_rng(2).uniform(-1, 1, size=[num, 299, 299, 3]).astype(np.float32)


@pytest.fixture(scope='module')
def frozen(tmp_path_factory):
    path = tmp_path_factory.mktemp('networks') / 'classify_image_graph_def.pb'
    path.write_bytes(frozen_inception().SerializeToString())
    return path


def one_by_one(path, images, tensor):
    """Returns a tensor of the unchanged graph for single images, as TensorFlow 1 computes it."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        image = tf.compat.v1.placeholder(tf.float32, [1, 299, 299, 3])
        (result,) = tf.graph_util.import_graph_def(
            graph_def, input_map={'Mul:0': image}, return_elements=[f'{tensor}:0'], name=''
        )
        return np.concatenate([session.run(result, {image: x[None]}) for x in images])


@pytest.mark.parametrize(
    ('name', 'tensor'),
    [
        ('pool_3', 'pool_3'),
        ('pool_3/_reshape', 'pool_3/_reshape'),
        ('logits', 'softmax/logits/MatMul'),  # without the bias
        ('softmax/logits', 'softmax/logits'),
        ('softmax', 'softmax'),
        ('mixed_7', 'mixed_7/join'),
        ('mixed_7/tower/conv', 'mixed_7/tower/conv'),
        ('conv', 'conv'),
    ],
)
def test_frozen_graph_takes_batches(frozen, name, tensor):
    images = random_input(3)
    expected = one_by_one(frozen, images, tensor)
    if expected.ndim == 4:
        expected = expected.mean(axis=(1, 2))
    network = load(frozen)
    assert isinstance(network, FrozenInception)
    outputs = tf.function(lambda x: network(x, [name]), autograph=False)(images)
    assert expected.std(axis=0).min() > 0
    np.testing.assert_allclose(outputs[name], expected, rtol=2e-5, atol=1e-6)


def test_frozen_graph_returns_several_outputs(frozen):
    outputs = tf.function(lambda x: load(frozen)(x, ['logits', 'pool_3']))(random_input(2))
    assert {name: output.shape for name, output in outputs.items()} == {
        'logits': (2, 7),
        'pool_3': (2, 5),
    }


@pytest.mark.parametrize('name', ['mixed_8', 'Mul', 'softmax/weights', 'DecodeJpeg/contents', ''])
def test_frozen_graph_names_its_outputs(frozen, name):
    network = load(frozen)
    with pytest.raises(UnknownOutputError) as error:
        tf.function(lambda x: network(x, [name]), autograph=False)(random_input(1))
    assert str(error.value) == 'conv, logits, mixed_7, pool_3, softmax'


def test_frozen_graph_needs_its_nodes(tmp_path):
    graph = frozen_inception()
    for node in graph.node:
        if node.name == 'Mul':
            node.name = 'image'
    path = tmp_path / 'graph.pb'
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ValueError, match='no node pool_3 that depends on Mul'):
        load(path)
    path.write_bytes(frozen_inception().SerializeToString()[:-100])
    with pytest.raises(Exception, match='.'):
        load(path)


# SavedModels


class Unnamed(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def __call__(self, images):
        return images[:, 0, 0]


def test_saved_model_without_named_outputs(tmp_path):
    tf.saved_model.save(Unnamed(), str(tmp_path))
    outputs = load(tmp_path)(random_input(2), None)
    assert {name: output.shape for name, output in outputs.items()} == {'output_0': (2, 3)}


def test_saved_model_of_keras_export(tmp_path):
    model = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.GlobalAveragePooling2D()])
    model.export(str(tmp_path / 'net'), verbose=False)
    x = np.random.default_rng(0).normal(size=[4, 8, 8, 3]).astype(np.float32)
    (output,) = load(tmp_path / 'net')(tf.constant(x), None).values()
    np.testing.assert_allclose(output, x.mean(axis=(1, 2)), rtol=1e-5)


def test_saved_model_of_tensorflow_1(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3], name='x')
        weights = tf.compat.v1.get_variable('w', initializer=tf.constant([2.0]))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / 'net'), {'x': x}, {'z': x[:, 0, 0] * weights}
        )
    images = np.ones([2, 8, 8, 3], np.float32)
    outputs = load(tmp_path / 'net')(tf.constant(images), ['z'])
    np.testing.assert_array_equal(outputs['z'], np.full([2, 3], 2.0))


def test_saved_model_of_nothing(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(TypeError, match='not callable and has no signature'):
        load(tmp_path)(random_input(1), None)


@pytest.mark.parametrize('name', ['runs [2]', 'a*b', 'what?', 'back\\slash', b'\xff\xfe', '{a}'])
def test_saved_model_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / (name if isinstance(name, str) else name.decode(errors='surrogateescape'))
    plain = tmp_path / 'plain'
    tf.saved_model.save(TinyInception(), str(plain))
    plain.rename(folder)
    images = random_input(2)
    outputs = load(folder)(tf.constant(images), ['pool_3'])
    expected = TinyInception()(tf.constant(images))['pool_3']
    np.testing.assert_array_equal(outputs['pool_3'], expected)
