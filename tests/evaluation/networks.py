"""Small networks with the interfaces of the real ones."""

import numpy as np
import tensorflow as tf

PLACES = np.array([0, 74, 149, 150, 298])  # where `probe` reads its 299 x 299 images


class TinyInception(tf.Module):
    """A SavedModel with TF-GAN's interface.

    Args:
        scale: factor of the weights; another one gives another network.
    """

    def __init__(self, scale=1.0):
        super().__init__()
        values = scale * np.random.default_rng(0).normal(size=[75, 6])
        self.weights = tf.Variable(values, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def __call__(self, images):
        pixels = tf.gather(tf.gather(images, PLACES, axis=1), PLACES, axis=2)
        probe = tf.reshape(pixels, [-1, 75])
        pool_3 = tf.tanh(probe @ self.weights)
        return {
            'probe': probe,
            'pool_3': pool_3,
            'pool_4d': pool_3[:, None, None, :],
            'half': tf.cast(pool_3, tf.float16),
            'map': pixels,
            'logits': 2.0 * pool_3[:, :4],
            'number': tf.reduce_sum(pool_3),
            'text': tf.strings.as_string(pool_3[:, 0]),
        }


def frozen_inception(seed=0):
    """Returns a GraphDef with the nodes of the Inception graph of 2015-12-05, but few channels.

    Like that graph it is made for one image, lists later nodes first, and has node types and
    attributes that TensorFlow 2 removed.
    """
    rng = np.random.default_rng(seed)
    graph = tf.compat.v1.GraphDef()
    graph.versions.producer = 8
    nodes = []

    def const(name, value, dtype=np.float32):
        node = tf.compat.v1.NodeDef(name=name, op='Const')
        value = np.asarray(value, dtype)
        node.attr['dtype'].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
        nodes.append(node)

    def add(op, name, *inputs, shape=(), **attributes):
        node = tf.compat.v1.NodeDef(name=name, op=op, input=inputs)
        node.attr['T'].type = tf.float32.as_datatype_enum
        if shape:
            output_shape = tf.TensorShape(shape).as_proto()
            node.attr['_output_shapes'].list.shape.append(output_shape)
        for key, value in attributes.items():
            if isinstance(value, bytes):
                node.attr[key].s = value
            elif isinstance(value, bool):
                node.attr[key].b = value
            elif isinstance(value, float):
                node.attr[key].f = value
            elif isinstance(value, list):
                node.attr[key].list.i.extend(value)
            else:
                node.attr[key].i = value
        nodes.append(node)

    def block(name, source, kernel, stride, scaled):
        const(f'{name}/conv2d_params', rng.normal(size=kernel, scale=0.2))
        strides = [1, stride, stride, 1]
        params = f'{name}/conv2d_params'
        add('Conv2D', f'{name}/Conv2D', source, params, strides=strides, padding=b'VALID')
        statistics = {}
        for statistic in ('moving_mean', 'moving_variance', 'beta', 'gamma'):
            statistics[statistic] = f'{name}/batchnorm/{statistic}'
            const(statistics[statistic], rng.uniform(0.2, 0.9, size=kernel[3]))
        inputs = (f'{name}/Conv2D', *statistics.values())
        op = 'BatchNormWithGlobalNormalization'
        options = dict(variance_epsilon=0.001, scale_after_normalization=scaled)
        add(op, f'{name}/batchnorm', *inputs, **options)
        add('CheckNumerics', f'{name}/CheckNumerics', f'{name}/batchnorm', message=b'not finite')
        inputs = (f'{name}/batchnorm', f'^{name}/CheckNumerics')
        add('Identity', f'{name}/control_dependency', *inputs)
        add('Relu', name, f'{name}/control_dependency')

    content = tf.compat.v1.NodeDef(name='DecodeJpeg/contents', op='Placeholder')
    content.attr['dtype'].type = tf.float32.as_datatype_enum
    nodes.append(content)
    const('Sub/y', 128.0)
    const('Mul/y', 0.0078125)
    add('Sub', 'Sub', 'DecodeJpeg/contents', 'Sub/y')
    add('Mul', 'Mul', 'Sub', 'Mul/y', shape=[1, 299, 299, 3])
    block('conv', 'Mul', [9, 9, 3, 4], 16, False)
    block('mixed_7/conv', 'conv', [1, 1, 4, 3], 1, True)
    block('mixed_7/tower/conv', 'conv', [1, 1, 4, 2], 1, False)
    const('mixed_7/join/concat_dim', 3, np.int32)
    add(
        'Concat',
        'mixed_7/join',
        'mixed_7/join/concat_dim',
        'mixed_7/conv',
        'mixed_7/tower/conv',
        N=2,
    )
    whole = [1, 19, 19, 1]
    add('AvgPool', 'pool_3', 'mixed_7/join', ksize=whole, strides=[1, 1, 1, 1], padding=b'VALID')
    const('pool_3/_reshape/shape', [1, 5], np.int32)
    add('Reshape', 'pool_3/_reshape', 'pool_3', 'pool_3/_reshape/shape', shape=[1, 5])
    const('softmax/weights', rng.normal(size=[5, 7]))
    const('softmax/biases', rng.normal(size=[7]))
    add('MatMul', 'softmax/logits/MatMul', 'pool_3/_reshape', 'softmax/weights', shape=[1, 7])
    add('BiasAdd', 'softmax/logits', 'softmax/logits/MatMul', 'softmax/biases')
    add('Softmax', 'softmax', 'softmax/logits')
    graph.node.extend(reversed(nodes))
    return graph
