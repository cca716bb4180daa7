"""Tests of WAE-GAN."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.noise import Role
from tests.methods.building import build

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))


def make(**options):
    small = dict(method='wae_gan', adversarial_weight=20.0, width_multiplier=0.05, latent_dim=4)
    return build(TrainConfig(**{**small, 'batch_size': 6, **options}), IMAGES)


def images():
    return tf.constant(np.random.RandomState(0).rand(6, 28, 28, 1), tf.float32)


@pytest.mark.parametrize(('discriminator', 'units'), [('mnist', 512), ('celeba', 1024)])
def test_wae_losses_equal_their_equations(discriminator, units):
    method, twin = (make(discriminator=discriminator) for _ in '12')
    x = images()
    assert [v.shape[1] for v in method.discriminator.weights[::2]] == [units] * 4 + [1]

    def logit_of(z):
        log_prior = scipy.stats.norm.logpdf(z).sum(axis=1, keepdims=True)
        return twin.discriminator(z).numpy() + (log_prior if discriminator == 'celeba' else 0.0)

    z = method.encoder(x, training=True)
    x_hat = method.decoder(z, training=True).numpy()
    logit = logit_of(z)
    values = method.train_step(x[None], tf.constant(3, tf.int64))
    sse = np.mean(np.sum((x.numpy() - x_hat) ** 2, axis=(1, 2, 3)))
    assert float(values['loss/ae']) == pytest.approx(sse, rel=1e-5)
    assert float(values['loss/enc']) == pytest.approx(np.mean(np.log1p(np.exp(-logit))), rel=1e-4)
    n = noise.normal(noise.key(0, 3, Role.CRITIC_NOISE), [6, 4])
    real = logit_of(n)
    expected = np.mean(np.log1p(np.exp(-real))) + np.mean(np.log1p(np.exp(logit)))
    assert float(values['loss/critic']) == pytest.approx(expected, rel=1e-4)


def test_wae_autoencoder_minimizes_the_weighted_sum():
    x, twin = images(), make(adversarial_weight=7.0)
    with tf.GradientTape() as tape:
        z = twin.encoder(x, training=True)
        square = tf.reduce_sum((x - twin.decoder(z, training=True)) ** 2) / 6.0
        total = square + 7.0 * tf.reduce_mean(tf.nn.softplus(-twin.discriminator(z)))
    norm = tf.linalg.global_norm(tape.gradient(total, twin.autoencoder_variables))
    values = make(adversarial_weight=7.0).train_step(x[None], tf.constant(3, tf.int64))
    assert float(values['grad_norm/ae']) == pytest.approx(float(norm), rel=1e-4)
    assert twin.encoder.layers[-1].use_bias  # the adversarial loss trains it


@pytest.mark.parametrize(
    ('frozen', 'still'), [('ae', ('encoder', 'decoder')), ('critic', ('discriminator',))]
)
def test_wae_update_changes_its_own_variables_only(frozen, still):
    # Too small to change float32 values; 0 is not possible with a schedule.
    method = make(**{f'{frozen}_learning_rate': 1e-30})
    before = {v.path: v.numpy() for v in method.trainable_variables}
    method.train_step(images()[None], tf.constant(0, tf.int64))
    for v in method.trainable_variables:
        same = np.allclose(before[v.path], v.numpy(), rtol=0.0, atol=1e-20)
        assert same == (v.path.split('/')[0] in still), v.path


def test_bn_momentum_is_the_fraction_of_averages_kept_per_pass():
    still = dict(ae_learning_rate=1e-30, critic_learning_rate=1e-30)
    means, x = {}, images()
    for momentum in (0.0, 0.9, 0.99):
        method = make(bn_momentum=momentum, **still)
        expected = method.decoder(method.encoder(x, training=True), training=True)
        for step in range(4):
            method.train_step(x[None], tf.constant(step, tf.int64))
        if not momentum:  # the averages are the batch statistics
            scored = method.decoder(method.encoder(x, training=False), training=False)
            np.testing.assert_allclose(scored, expected, atol=1e-3)
        averages = [layer.moving_mean for layer in method.decoder.layers if 'bn_' in layer.name]
        means[momentum] = np.concatenate([v.numpy() for v in averages])
    for momentum in (0.9, 0.99):
        left = momentum**5  # of the initial zeros, after one pass above and four in training
        np.testing.assert_allclose(means[momentum], (1 - left) * means[0.0], rtol=0.01, atol=1e-3)


def test_wae_learning_rates_fall_at_fractions_of_the_training():
    method = make(training_steps=100)
    rates = [float(method.ae_optimizer.learning_rate)]
    for step in range(60):
        method.ae_optimizer.iterations.assign(step)
        rates.append(float(method.ae_optimizer.learning_rate))
    assert rates[0] == rates[30] == pytest.approx(1e-3)
    assert rates[40] == pytest.approx(5e-4) and rates[60] == pytest.approx(1e-4)
