import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.errors import UsageError
from flexae_tf.networks.architectures import default_latent_dim, find_architecture
from flexae_tf.networks.autoencoder import Decoder, Encoder
from flexae_tf.networks.batch_norm import (
    BatchNorm,
    moving_averages,
    pooled_moments,
    preserve_moving_averages,
    set_moving_averages,
)
from flexae_tf.networks.image_critic import ImageCritic
from flexae_tf.networks.latent import Critic, Generator

MNIST, CIFAR, CELEBA = (28, 28, 1), (32, 32, 3), (64, 64, 3)


def trainable(network):
    return sum(math.prod(v.shape) for v in network.trainable_variables)


def build(shape, **options):
    config = TrainConfig(**options)
    latent_dim = config.latent_dim or default_latent_dim(config, shape)
    config = dataclasses.replace(config, latent_dim=latent_dim)
    row = find_architecture(config, shape)
    sizes = dict(shape=shape, latent_dim=config.latent_dim, seed=0)
    return Encoder(row, **sizes), Decoder(row, **sizes), row, config


@pytest.mark.parametrize(
    'shape, latent_dim, encoder_millions, decoder_millions',
    [(MNIST, 32, 7.754, 5.279), (CIFAR, 128, 29.90, 23.67), (CELEBA, 128, 45.53, 47.36)],
)
def test_autoencoder_has_the_parameters_of_table_6(
    shape, latent_dim, encoder_millions, decoder_millions
):
    encoder, decoder, _, config = build(shape)
    assert config.latent_dim == latent_dim
    assert trainable(encoder) / 1e6 == pytest.approx(encoder_millions, abs=6e-3)
    assert trainable(decoder) / 1e6 == pytest.approx(decoder_millions, abs=6e-3)


def test_generator_and_critic_have_the_parameters_of_tables_7_and_8():
    row = find_architecture(TrainConfig(), MNIST)
    assert trainable(Generator(row.generator, noise_dim=32, latent_dim=32, seed=0)) == 575_008
    assert trainable(Critic(row.critic, latent_dim=32, seed=0)) == 197_761
    sizes = {}
    for i in range(1, 7):
        hidden = find_architecture(TrainConfig(generator_capacity=i), MNIST).generator
        sizes[i] = trainable(Generator(hidden, noise_dim=32, latent_dim=32, seed=0))
    assert [round(sizes[i] / 1e3, 1) for i in (1, 2, 3)] == [1.3, 8.4, 82.5]
    assert [round(sizes[i] / 1e6, 2) for i in (4, 5, 6)] == [1.12, 3.22, 12.72]


def test_synthetic_networks_are_those_of_table_5():
    encoder, decoder, row, config = build((128,), dataset='synthetic_5d')
    assert config.latent_dim == 50
    assert trainable(encoder) == 128 * 128 + 128 + 128 * 50 + 50
    assert trainable(decoder) == 50 * 128 + 128
    assert row.generator == (128,) and row.critic == (128, 128)
    assert default_latent_dim(TrainConfig(dataset='synthetic_2d'), (128,)) == 2


@pytest.mark.parametrize('shape', [MNIST, CIFAR, CELEBA, (48, 48, 3), (128, 128, 1), (8, 8, 3)])
def test_autoencoder_has_shapes_and_ranges_at_every_image_size(shape):
    encoder, decoder, *_ = build(shape, width_multiplier=0.02, latent_dim=5)
    x = np.random.RandomState(0).rand(3, *shape).astype(np.float32)
    z = encoder(x)
    x_hat = decoder(z)
    assert z.shape == (3, 5) and x_hat.shape == x.shape
    assert 0 <= x_hat.numpy().min() and x_hat.numpy().max() <= 1


@pytest.mark.parametrize(
    'x, words',
    [
        (np.zeros([2, 28, 28, 1], np.int64), 'int64 (2, 28, 28, 1)'),
        (np.zeros([2, 28, 28, 1], np.uint16), 'uint16'),
        (np.zeros([2, 28, 28, 1], bool), 'bool'),
        (np.zeros([28, 28, 1], np.uint8), 'uint8 (28, 28, 1)'),
        (np.zeros([2, 28, 28]), 'float64 (2, 28, 28)'),
        (np.zeros([2, 28, 28, 3]), '[n, 28, 28, 1]'),
        (np.zeros([2, 784]), '[n, 28, 28, 1]'),
        (np.full([2, 28, 28, 1], 255.0), 'values 255 .. 255'),
        (np.linspace(-1, 1, 784).reshape(1, 28, 28, 1), 'values -1 .. 1'),
    ],
)
def test_encoder_refuses_other_examples_in_one_line(x, words):
    encoder, *_ = build(MNIST, width_multiplier=0.05)
    with pytest.raises(UsageError) as error:
        encoder(x, training=False)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_encoder_accepts_images_with_noise():
    encoder, decoder, *_ = build(MNIST, width_multiplier=0.05)
    assert encoder(np.full([2, 28, 28, 1], 1.3)).shape == (2, 32)
    with pytest.raises(UsageError, match=r'int64 \(2, 32\): .* float, \[n, 32\]'):
        decoder(np.zeros([2, 32], np.int64))


def test_find_architecture_refuses_shapes_and_lists_sizes_that_fit():
    with pytest.raises(UsageError, match='multiple of 4 .* 28, 32'):
        build((30, 30, 1), network='mnist')
    with pytest.raises(UsageError, match='multiple of 16 .* 64, 80'):
        build((70, 70, 3))
    with pytest.raises(UsageError, match='--network=auto: images are 28 x 32. .*squares'):
        build((28, 32, 1))
    with pytest.raises(UsageError, match='vectors'):
        build(MNIST, network='synthetic')
    with pytest.raises(UsageError, match='--network=minst: .*auto, mnist, cifar10'):
        build(MNIST, network='minst')


def test_layers_before_batch_norm_have_no_bias():
    encoder, decoder, row, _ = build(MNIST, width_multiplier=0.125)
    for network in (encoder, decoder):
        for layer, following in zip(network.layers, network.layers[1:], strict=False):
            if isinstance(following, BatchNorm):
                assert layer.use_bias is False
    biased = Encoder(row, shape=(28, 28, 1), latent_dim=4, seed=0, code_bias=True)
    assert biased.layers[-1].use_bias


def test_width_multiplier_scales_convolutions_only():
    row = find_architecture(TrainConfig(width_multiplier=0.125), MNIST)
    assert [layer.channels for layer in row.encoder] == [8, 16, 32, 64, 64]
    assert row.decoder[0].channels == 32 and row.generator == (1024, 512)


def test_encoder_weights_depend_on_the_seed_and_differ_between_layers():
    first, again = build(MNIST, width_multiplier=0.1)[0], build(MNIST, width_multiplier=0.1)[0]
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [v.numpy().ravel() for v in first.trainable_variables if v.path.endswith('kernel')]
    assert abs(np.corrcoef(kernels[0][:50], kernels[1][:50])[0, 1]) < 0.9


@pytest.mark.parametrize('training', [True, False])
def test_batch_norm_equals_the_keras_layer(training):
    ours = BatchNorm(dtype='float32', name='bn')
    theirs = keras.layers.BatchNormalization()
    x = tf.constant(np.random.RandomState(0).randn(6, 5, 5, 3) * 2 + 1, tf.float32)
    gradients = []
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.gamma.assign([1.0, 2.0, 3.0])
        layer.moving_mean.assign([0.5, 0.0, 0.1])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.sin(y))
        gradients.append([y, *tape.gradient(loss, [x, *layer.trainable_variables])])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_batch_norm_on_two_devices_uses_the_global_batch(mirrored):
    x = tf.constant(np.random.RandomState(0).randn(8, 4, 4, 3) * 2 + 1, tf.float32)
    one = BatchNorm(dtype='float32', name='bn')
    expected = one(x, training=True)
    strategy = mirrored(2)
    with strategy.scope():
        two = BatchNorm(dtype='float32', name='bn')
        two.build(x.shape)

    @tf.function
    def run():
        def half():
            i = tf.distribute.get_replica_context().replica_id_in_sync_group
            return two(x[4 * i : 4 * i + 4], training=True)

        return strategy.run(half)

    got = np.concatenate(strategy.experimental_local_results(run()))
    np.testing.assert_allclose(got, expected, atol=1e-4)
    for a, b in zip(one.variables, two.variables, strict=True):
        for copy in strategy.experimental_local_results(b.value):
            np.testing.assert_allclose(copy, a, rtol=1e-4, atol=1e-6)


def test_mixed_precision_keeps_variables_and_outputs_in_float32():
    config = TrainConfig(width_multiplier=0.05, latent_dim=32, precision='mixed_bfloat16')
    row = find_architecture(config, MNIST)
    sizes = dict(shape=MNIST, latent_dim=8, seed=0)
    encoder = Encoder(row, dtype='mixed_bfloat16', **sizes)
    decoder = Decoder(row, dtype='mixed_bfloat16', **sizes)
    x = tf.constant(np.random.RandomState(0).rand(4, *MNIST), tf.float32)
    z = encoder(x, training=True)
    x_hat = decoder(z, training=True)
    assert z.dtype == x_hat.dtype == tf.float32
    assert {v.dtype for v in encoder.variables + decoder.variables} == {'float32'}
    assert encoder.layers[0].compute_dtype == 'bfloat16'
    reference = Encoder(row, **sizes)(x, training=True)
    np.testing.assert_allclose(z, reference, atol=0.15)
    assert not np.allclose(z, reference, atol=1e-6)  # computed in bfloat16


def layer_names(network):
    """Returns the layers: conv, tconv, fc, bn, names of activations, flatten, reshape."""
    names = {'Conv2D': 'conv', 'Conv2DTranspose': 'tconv', 'Dense': 'fc', 'BatchNorm': 'bn'}
    made = []
    for layer in network.layers:
        made.append(names.get(type(layer).__name__, type(layer).__name__.lower()))
        activation = getattr(layer, 'activation', keras.activations.linear).__name__
        if made[-1] == 'activation':
            made[-1] = activation
        elif activation != 'linear':
            made.append(activation)
    return ' '.join(made)


@pytest.mark.parametrize('shape, latent_dim', [(MNIST, 32), (CIFAR, 128)])
def test_released_networks_have_the_layers_and_parameters_of_the_release(shape, latent_dim):
    encoder, decoder, row, config = build(shape, network='released')
    assert config.latent_dim == latent_dim
    assert layer_names(encoder) == 'conv relu conv bn relu flatten fc bn relu fc'
    assert layer_names(decoder) == (
        'fc bn relu fc bn relu reshape tconv bn relu tconv bn relu conv sigmoid'
    )
    channels, flat = shape[2], (shape[0] // 4) ** 2 * 128
    assert trainable(encoder) == (
        (4 * 4 * channels * 64 + 64)  # no batch norm, so it has a bias
        + (4 * 4 * 64 * 128 + 2 * 128)
        + (flat * 1024 + 2 * 1024)
        + 1024 * latent_dim
    )
    assert trainable(decoder) == (
        (latent_dim * 1024 + 2 * 1024)
        + (1024 * flat + 2 * flat)
        + (4 * 4 * 128 * 128 + 2 * 128)
        + (4 * 4 * 128 * 64 + 2 * 64)
        + (3 * 3 * 64 * channels + channels)
    )
    assert row.generator == row.critic == (1024, 1024, 1024, 1024)


def test_image_critic_has_the_layers_and_parameters_of_the_release():
    for network in ('mnist', 'released'):
        critic = ImageCritic(
            find_architecture(TrainConfig(network=network), MNIST), shape=MNIST, seed=0
        )
        assert layer_names(critic) == 'conv relu conv relu flatten fc relu fc'
        assert [layer.strides for layer in critic.layers[:2]] == [(2, 2), (2, 2)]
        assert trainable(critic) == 1_088 + 131_200 + 6_423_552 + 1_025
    row = find_architecture(TrainConfig(width_multiplier=0.125), CIFAR)
    assert trainable(ImageCritic(row, shape=CIFAR, seed=0)) == (
        (4 * 4 * 3 * 8 + 8) + (4 * 4 * 8 * 16 + 16) + (8 * 8 * 16 * 1024 + 1024) + 1025
    )
    vectors = ImageCritic(find_architecture(TrainConfig(), (128,)), shape=(128,), seed=0)
    assert layer_names(vectors) == 'fc relu fc relu fc'
    assert vectors(np.zeros([3, 128], np.float32)).shape == (3, 1)


def test_released_networks_take_images_with_sides_that_are_multiples_of_4():
    decoder = build((20, 20, 3), network='released', width_multiplier=0.1)[1]
    assert decoder(np.zeros([2, 32], np.float32)).shape == (2, 20, 20, 3)
    assert default_latent_dim(TrainConfig(network='released'), CELEBA) == 128
    with pytest.raises(UsageError, match='multiple of 4 .* 28, 32'):
        build((30, 30, 1), network='released')
    with pytest.raises(UsageError, match='vectors'):
        build((128,), network='released')
    for size in (4, 16, 64, 128):
        assert find_architecture(TrainConfig(), (size, size, 1)).last_kernel > 3


@pytest.mark.parametrize('shape', [(8, 5), (8, 4, 4, 3)])
def test_preserve_moving_averages_restores_averages_and_keeps_outputs(shape):
    x = tf.constant(np.random.RandomState(0).randn(*shape), tf.float32)
    network = keras.Sequential([keras.Input(x.shape[1:]), BatchNorm(dtype='float32', name='bn')])
    layer = network.layers[0]
    before = [v.numpy() for v in layer.non_trainable_variables]

    def changed():
        now = [v.numpy() for v in layer.non_trainable_variables]
        return [not np.array_equal(a, b) for a, b in zip(before, now, strict=True)]

    with preserve_moving_averages(network):
        kept = network(x, training=True)
    assert changed() == [False, False]
    np.testing.assert_array_equal(network(x, training=True), kept)
    assert changed() == [True, True]
    once = [v.numpy() for v in layer.non_trainable_variables]
    mean = np.mean(x, axis=tuple(range(x.ndim - 1)))
    np.testing.assert_allclose(once[0], 0.01 * mean, atol=1e-6)


def test_preserve_moving_averages_works_on_two_devices(mirrored):
    x = tf.constant(np.random.RandomState(0).randn(8, 3), tf.float32)
    one = BatchNorm(dtype='float32', name='bn')
    for _ in range(2):
        one(x, training=True)
    strategy = mirrored(2)
    with strategy.scope():
        two = BatchNorm(dtype='float32', name='bn')
        network = keras.Sequential([keras.Input([3]), two])

    @tf.function
    def run():
        def half():
            i = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = x[4 * i : 4 * i + 4]
            network(mine, training=True)
            with preserve_moving_averages(network):
                network(5.0 * mine, training=True)
            network(mine, training=True)

        strategy.run(half)

    run()
    for a, b in zip(one.non_trainable_variables, two.non_trainable_variables, strict=True):
        for copy in strategy.experimental_local_results(b.value):
            np.testing.assert_allclose(copy, a, rtol=1e-5, atol=1e-6)


def test_preserve_moving_averages_restores_averages_after_an_error():
    network = keras.Sequential([keras.Input([3]), BatchNorm(dtype='float32', name='bn')])
    with pytest.raises(RuntimeError), preserve_moving_averages(network):
        network(5.0 * tf.ones([4, 3]), training=True)
        raise RuntimeError
    mean, variance = moving_averages(network)
    assert np.all(mean.numpy() == 0.0) and np.all(variance.numpy() == 1.0)


@pytest.mark.parametrize('shape', [(3, 8, 5), (3, 8, 4, 4, 5)])
def test_pooled_moments_are_the_moments_of_all_batches(shape):
    random = np.random.RandomState(0)
    scales = random.rand(3, *[1] * (len(shape) - 1)) * 3
    batches = (random.randn(*shape) * scales + 2 * scales).astype(np.float32)
    network = keras.Sequential(
        [
            keras.Input(shape[2:]),
            BatchNorm(dtype='float32', name='bn_1'),
            keras.layers.Activation('relu'),
            BatchNorm(dtype='float32', name='bn_2'),
        ]
    )
    first = network.layers[0]
    first.momentum = 0.9
    before = [v.numpy() for v in moving_averages(network)]
    found = pooled_moments(network, map(tf.constant, batches))
    assert first.momentum == 0.9
    for v, value in zip(moving_averages(network), before, strict=True):
        np.testing.assert_array_equal(v, value)

    # The first layer sees the batches; the second sees each normalized by its own statistics.
    axes = tuple(range(1, len(shape) - 1))
    mean, variance = (f(batches, axes, keepdims=True) for f in (np.mean, np.var))
    normalized = np.maximum((batches - mean) / np.sqrt(variance + first.epsilon), 0.0)
    all_axes = (0, *axes)
    expected = [f(x, all_axes) for x in (batches, normalized) for f in (np.mean, np.var)]
    assert len(found) == 4
    for value, by_hand in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, by_hand, rtol=1e-4, atol=1e-6)


def test_pooled_moments_of_one_batch_are_exact_averages():
    _, decoder, _, _ = build(MNIST, width_multiplier=0.05)
    z = tf.constant(np.random.RandomState(0).randn(16, 32), tf.float32)
    moments = pooled_moments(decoder, [z])
    set_moving_averages(decoder, moments)
    np.testing.assert_allclose(decoder(z), decoder(z, training=True), atol=1e-5)
    # Exact averages stay as they are.
    set_moving_averages(decoder, moments)
    for v, again in zip(moving_averages(decoder), pooled_moments(decoder, [z]), strict=True):
        np.testing.assert_allclose(v, again, rtol=1e-6)


def test_networks_without_batch_norm_have_no_averages():
    encoder, _, _, _ = build((128,))
    assert moving_averages(encoder) == pooled_moments(encoder, [tf.zeros([2, 128])]) == []
