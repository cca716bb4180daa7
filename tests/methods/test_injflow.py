"""Tests of InjFlow."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.injflow import CLAMP_WEIGHT
from flexae_tf.noise import Role
from tests.methods.building import build

IMAGES = DatasetSpec('mnist', 'images', (4, 4, 1), 60_000, 10_000, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
K = 0.5  # large, so that its term is visible in the sums


def floats(values):
    return {tag: float(value) for tag, value in values.items()}


def make(spec=VECTORS, **options):
    small = dict(method='injflow', volume_weight=K, latent_dim=4, batch_size=6)
    return build(TrainConfig(**{**small, **options}), spec)


def examples(method):
    shape = [method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(0).rand(*shape), tf.float32)


def directions(num, latent_dim, seed=0):
    u = np.random.RandomState(seed).randn(num, latent_dim).astype(np.float32)
    return u / np.linalg.norm(u, axis=1, keepdims=True)


def squared_jvp_of_vectors(decoder, z, u):
    """Returns |J u|^2 of the decoder of Table 5, x_hat = tanh(z W + b), by its closed form."""
    kernel, bias = decoder.trainable_variables
    slope = 1.0 - tf.tanh(z @ kernel + bias) ** 2
    return tf.reduce_sum((slope * (u @ tf.convert_to_tensor(kernel))) ** 2, axis=1)


def moved_from_its_start(method):
    """Returns `method` with batch-norm averages and weights other than 0 and 1."""
    rng = np.random.RandomState(1)
    for v in method.weights:
        v.assign(v + 0.2 * rng.rand(*v.shape))
    return method


def test_squared_jvp_norm_of_the_decoder_equals_its_jacobian(short_networks):
    method = moved_from_its_start(make(IMAGES))
    z, u = tf.constant(directions(3, 4, seed=3)), tf.constant(directions(3, 4))
    found = losses.squared_jvp_norm(method.decode, z, u)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x_hat = method.decoder(z, training=False)
    jacobian = tf.reshape(tape.batch_jacobian(x_hat, z), [3, -1, 4])
    expected = tf.reduce_sum(tf.einsum('bdm,bm->bd', jacobian, u) ** 2, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # The value of an example does not depend on the rest of the batch.
    single = losses.squared_jvp_norm(method.decode, z[:1], u[:1])
    np.testing.assert_allclose(single, found[:1], rtol=1e-4)


def test_log_volume_trains_encoder_and_decoder(short_networks):
    method = moved_from_its_start(make(IMAGES))
    x, u = examples(method), tf.constant(directions(6, 4))

    def volume():
        z = method.encoder(x, training=False)
        return losses.log_volume(losses.squared_jvp_norm(method.decode, z, u), latent_dim=4)

    variables = method.autoencoder_variables
    with tf.GradientTape() as tape:
        value = volume()
    gradients = [g.numpy() for g in tape.gradient(value, variables)]
    for v, gradient in zip(variables, gradients, strict=True):
        assert np.abs(gradient).max() > 0, v.path
    # In each network, a small step along its gradient gains the gradient's square.
    for part in (method.encoder, method.decoder):
        own = [(v, g) for v, g in zip(variables, gradients, strict=True) if owned(v, part)]
        norm = np.sqrt(sum(np.sum(g**2) for _, g in own))
        gains = []
        for step in (1e-2, -2e-2, 1e-2):
            for v, g in own:
                v.assign(v + step * g / norm)
            gains.append(float(volume()))
        assert (gains[0] - gains[1]) / 2e-2 == pytest.approx(norm, rel=0.02)
        assert gains[2] == pytest.approx(float(value), rel=1e-4)


def owned(variable, network):
    return any(variable is v for v in network.trainable_variables)


@pytest.mark.parametrize('scale', [1.0, 0.03])
def test_injflow_losses_equal_their_equations(scale):
    method = make()
    kernel = method.decoder.trainable_variables[0]
    kernel.assign(scale * kernel)
    x = examples(method)
    n = noise.normal(noise.key(0, 7, Role.DIRECTION), [6, 4]).numpy()
    u = n / np.sqrt(np.sum(n**2, axis=1, keepdims=True))
    with tf.GradientTape() as tape:
        z = method.encoder(x)
        ae = tf.reduce_sum((x - method.decoder(z)) ** 2) / 6
        squared_jvp = squared_jvp_of_vectors(method.decoder, z, u)
        volume = tf.reduce_mean(4.0 * tf.math.log(tf.sqrt(squared_jvp + 1e-6)))
        code = tf.reduce_mean(tf.reduce_sum(z**2, axis=1))
        short = tf.where(squared_jvp < 0.01, 0.01 - squared_jvp, 0.0)
        clamp = tf.reduce_mean(short**2)
        total = ae + K * (code / 2 + volume) + CLAMP_WEIGHT * clamp
    gradients = tape.gradient(total, method.autoencoder_variables)
    expected = {
        'loss/ae': ae,
        'loss/code_penalty': code,
        'loss/log_volume': volume,
        'loss/clamp_penalty': clamp,
        'loss/total': total,
        'grad_norm/ae': np.sqrt(sum(np.sum(g.numpy() ** 2) for g in gradients)),
    }
    found = method.train_step(x[None], tf.constant(7, tf.int64))
    assert floats(found) == pytest.approx(floats(expected), rel=1e-4)
    assert (float(found['loss/clamp_penalty']) > 0) == (scale < 1.0)


def test_log_volume_uses_the_decoder_in_inference_mode(short_networks):
    """The decoder uses its averages after the reconstruction of this step, which moved them."""
    method, twin = make(IMAGES), make(IMAGES)
    x = examples(method)
    found = method.train_step(x[None], tf.constant(7, tf.int64))
    z = twin.encoder(x, training=True)
    twin.decoder(z, training=True)
    n = noise.normal(noise.key(0, 7, Role.DIRECTION), [6, 4])
    squared_jvp = losses.squared_jvp_norm(twin.decode, z, n / tf.norm(n, axis=1)[:, None])
    expected = 2.0 * np.mean(np.log(squared_jvp.numpy() + 1e-6))
    assert float(found['loss/log_volume']) == pytest.approx(expected, rel=1e-4)
    for a, b in zip(method.decoder.weights, twin.decoder.weights, strict=True):
        if 'moving' in a.path:
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=a.path)


@pytest.mark.parametrize(('spec', 'jit_compile'), [(IMAGES, False), (VECTORS, True)])
def test_injflow_compiled_steps_equal_eager_steps(short_networks, spec, jit_compile):
    """For images, the decoder's averages move before the penalty uses them."""
    ours, plain = make(spec), make(spec)
    step_fn = tf.function(ours.train_step, jit_compile=jit_compile)
    for step in range(2):
        arguments = examples(plain)[None], tf.constant(step, tf.int64)
        expected, found = plain.train_step(*arguments), step_fn(*arguments)
        assert floats(found) == pytest.approx(floats(expected), rel=1e-4, abs=1e-7)
    assert step_fn.experimental_get_tracing_count() == 1
    for a, b in zip(ours.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, err_msg=a.path)
