"""Tests of VAEs."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.noise import Role
from tests.methods.building import build

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
STILL = 1e-30  # a learning rate too small to change float32 values


def make(spec=IMAGES, **options):
    small = dict(width_multiplier=0.05, latent_dim=4, batch_size=6)
    return build(TrainConfig(**{**small, **options}), spec)


def batch(spec=IMAGES):
    return tf.constant(np.random.RandomState(0).rand(6, *spec.shape), tf.float32)


def noise_of(step):
    return noise.normal(noise.key(0, step, Role.POSTERIOR), [6, 4]).numpy()


def squared_error(x, x_hat):
    return np.mean(np.sum(np.square(np.reshape(x - x_hat, [6, -1])), axis=1))


def normal_log_prob(z, mean=0.0, log_variance=0.0):
    """Returns ln N(z; mean, exp(log_variance)) summed over the last axis, by SciPy."""
    return scipy.stats.norm(mean, np.exp(log_variance / 2)).logpdf(z).sum(axis=-1)


@pytest.mark.parametrize('kl_weight', [None, 0.1])
def test_vae_losses_equal_their_equations(kl_weight):
    method = make(method='beta_vae' if kl_weight else 'vae', kl_weight=kl_weight)
    x = tf.constant(np.random.RandomState(0).rand(6, 28, 28, 1), tf.float32)
    mean, log_variance = (t.numpy() for t in method.encoder(x, training=True))
    eps = noise.normal(noise.key(0, 7, Role.POSTERIOR), [6, 4]).numpy()
    z = mean + np.exp(log_variance / 2) * eps
    x_hat = method.decoder(z, training=True).numpy()
    sse = np.mean(np.sum((x.numpy() - x_hat) ** 2, axis=(1, 2, 3)))
    kl = np.mean(np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)) / 2
    values = method.train_step(x[None], tf.constant(7, tf.int64))
    assert float(values['loss/ae']) == pytest.approx(sse, rel=1e-5)
    assert float(values['loss/kl']) == pytest.approx(kl, rel=1e-4)
    expected = sse / 2 + (kl_weight or 1.0) * kl
    assert float(values['loss/total']) == pytest.approx(expected, rel=1e-5)


def test_sample_posterior_has_the_moments_of_the_encoder():
    method = make(method='vae')
    x = tf.constant(np.random.RandomState(0).rand(1, 28, 28, 1), tf.float32)
    mean, log_variance = method.posterior(x, training=False)
    codes = method.sample_posterior(tf.repeat(x, 4000, axis=0), seed=1).numpy()
    np.testing.assert_allclose(codes.mean(axis=0), mean[0], atol=0.08)
    np.testing.assert_allclose(codes.std(axis=0), np.exp(0.5 * log_variance[0]), rtol=0.05)


@pytest.mark.parametrize('kl_weight', [None, 0.3])
def test_vampprior_losses_equal_their_equations(kl_weight):
    """Covers the warm-up, which is 10 of 100 steps long."""
    options = dict(method='vae_vampprior', num_pseudo_inputs=3, training_steps=100)
    options |= dict(kl_weight=kl_weight)
    method, twin = (make(ae_learning_rate=STILL, **options) for _ in range(2))
    x = batch()
    start = [v.numpy() for v in twin.encoder.non_trainable_variables]
    for step, warmup in ((0, 0.0), (5, 0.5), (9, 0.9), (10, 1.0), (60, 1.0)):
        mean, log_variance = (t.numpy() for t in twin.encoder(x, training=True))
        # In inference mode, with averages that the pass of the images has just moved.
        pseudo = np.clip(twin.pseudo_inputs.numpy(), 0.0, 1.0)
        means, log_variances = (t.numpy() for t in twin.encoder(pseudo, training=False))
        z = mean + np.exp(log_variance / 2) * noise_of(step)
        sse = squared_error(x, twin.decoder(z, training=True))
        log_q = normal_log_prob(z, mean, log_variance)
        terms = normal_log_prob(z[:, None], means, log_variances)  # [6, 3]
        log_p = scipy.special.logsumexp(terms, axis=1) - np.log(3)
        values = method.train_step(x[None], tf.constant(step, tf.int64))
        assert float(values['loss/ae']) == pytest.approx(sse, rel=1e-5)
        assert float(values['loss/kl']) == pytest.approx(np.mean(log_q - log_p), rel=1e-4)
        expected = sse / 2 + (kl_weight or 1.0) * warmup * np.mean(log_q - log_p)
        assert float(values['loss/total']) == pytest.approx(expected, rel=1e-5)
    for a, b, old in zip(
        method.encoder.non_trainable_variables,
        twin.encoder.non_trainable_variables,
        start,
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=a.path)
        assert not np.allclose(a, old, rtol=1e-3), a.path


def test_pseudo_inputs_have_gradients_inside_the_range_only():
    method = make(method='vae_vampprior', num_pseudo_inputs=3, training_steps=100)
    start = method.pseudo_inputs.numpy()
    assert start.shape == (3, 28, 28, 1)
    assert start.mean() == pytest.approx(0.05, abs=2e-3)
    assert start.std() == pytest.approx(0.01, rel=0.1)
    start[:, 0, 0], start[:, 0, 1] = -0.2, 1.2  # outside the range: no gradient
    method.pseudo_inputs.assign(start)
    method.train_step(batch()[None], tf.constant(0, tf.int64))  # the weight of the prior is 0
    np.testing.assert_array_equal(method.pseudo_inputs, start)
    method.train_step(batch()[None], tf.constant(50, tf.int64))
    moved = method.pseudo_inputs.numpy() != start
    assert not moved[:, 0, :2].any()
    assert moved[:, 1:].mean() > 0.99


def test_initial_pseudo_inputs_of_vectors_are_inside_their_range():
    method = make(VECTORS, dataset='synthetic_2d', method='vae_vampprior', num_pseudo_inputs=9)
    start = method.pseudo_inputs.numpy()
    assert start.mean() == pytest.approx(-0.9, abs=5e-3)
    assert start.std() == pytest.approx(0.02, rel=0.1)


def test_vampprior_uses_the_encoder_of_the_method():
    method = make(method='vae_vampprior', num_pseudo_inputs=1)
    mean, log_variance = method.posterior(method.pseudo_inputs.value, training=False)
    z = method.sample_latent(20_000, seed=0).numpy()
    deviation = np.exp(log_variance[0] / 2)
    np.testing.assert_allclose((z.mean(axis=0) - mean[0]) / deviation, np.zeros(4), atol=0.03)
    np.testing.assert_allclose(z.std(axis=0), deviation, rtol=0.03)
    expected = normal_log_prob(z[:20], mean, log_variance)
    np.testing.assert_allclose(method.prior.log_prob(z[:20]), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'low', 'high'),
    [
        (dict(method='vae'), -10.0, 10.0),
        (dict(method='vae_flow', kl_weight=0.1), -10.0, 10.0),
        (dict(method='vae_vampprior', num_pseudo_inputs=3), -6.0, 2.0),
    ],
)
def test_log_variance_is_limited(options, low, high):
    method, x = make(VECTORS, dataset='synthetic_2d', **options), batch(VECTORS)
    bias = next(v for v in method.encoder.weights if v.path.endswith('fc_log_variance/bias'))
    bias.assign([-50.0, 50.0, low + 3.0, high - 3.0])
    raw = method.encoder(x, training=False)[1].numpy()
    log_variance = method.posterior(x, training=False)[1].numpy()
    np.testing.assert_array_equal(log_variance[:, 0], np.full(6, np.float32(low)))
    np.testing.assert_array_equal(log_variance[:, 1], np.full(6, np.float32(high)))
    np.testing.assert_array_equal(log_variance[:, 2:], raw[:, 2:])
    codes = method.sample_posterior(x, seed=0).numpy()
    assert np.isfinite(codes).all()


def test_flow_losses_equal_their_equations():
    options = dict(dataset='synthetic_2d', method='vae_flow', kl_weight=0.3)
    method, x = make(VECTORS, **options), batch(VECTORS)
    mean, log_variance, context = method.encoder(x, training=True)
    assert context.shape == (6, 128)
    eps = noise_of(7)
    start = mean + np.exp(log_variance / 2) * eps
    z, log_determinant = (t.numpy() for t in method.flow([start, context]))
    assert np.abs(log_determinant).min() > 1.0  # not negligible
    log_q = -np.sum(eps**2 / 2 + np.log(2 * np.pi) / 2 + log_variance / 2, axis=1) - log_determinant
    kl = np.mean(log_q - normal_log_prob(z))
    sse = squared_error(x, method.decoder(z, training=True))
    np.testing.assert_allclose(method.encode(x), method.flow([mean, context])[0], rtol=1e-5)
    eps = noise.normal(noise.key(5, 0, Role.POSTERIOR), [6, 4])
    expected = method.flow([mean + np.exp(log_variance / 2) * eps, context])[0]
    np.testing.assert_allclose(method.sample_posterior(x, seed=5), expected, rtol=1e-5)
    values = method.train_step(x[None], tf.constant(7, tf.int64))
    assert float(values['loss/ae']) == pytest.approx(sse, rel=1e-5)
    assert float(values['loss/kl']) == pytest.approx(kl, rel=1e-4)
    assert float(values['loss/total']) == pytest.approx(sse / 2 + 0.3 * kl, rel=1e-5)


def test_flow_prior_losses_equal_their_equations():
    options = dict(dataset='synthetic_2d', method='vae_flow_prior', kl_weight=0.3)
    method, x = make(VECTORS, **options), batch(VECTORS)
    mean, log_variance = (t.numpy() for t in method.encoder(x, training=True))
    z = mean + np.exp(log_variance / 2) * noise_of(7)
    n, log_determinant = (t.numpy() for t in method.prior_flow(z))
    log_p = normal_log_prob(n) + log_determinant
    kl = np.mean(normal_log_prob(z, mean, log_variance) - log_p)
    sse = squared_error(x, method.decoder(z, training=True))
    np.testing.assert_allclose(method.encode(x), mean, rtol=1e-5, atol=1e-6)
    sampled = method.prior_flow(method.sample_latent(5, seed=3))[0]
    expected = noise.normal(noise.key(3, 0, Role.SAMPLE), [5, 4])
    np.testing.assert_allclose(sampled, expected, atol=1e-5)
    values = method.train_step(x[None], tf.constant(7, tf.int64))
    assert float(values['loss/ae']) == pytest.approx(sse, rel=1e-5)
    assert float(values['loss/kl']) == pytest.approx(kl, rel=1e-4)
    assert float(values['loss/total']) == pytest.approx(sse / 2 + 0.3 * kl, rel=1e-5)


def test_two_stage_vae_losses_equal_their_equations():
    options = dict(dataset='synthetic_2d', method='two_stage_vae')
    method, x = make(VECTORS, **options), batch(VECTORS)
    assert float(method.log_scale) == 0.0
    gamma = 0.4
    method.log_scale.assign(np.log(gamma))
    mean, log_variance = (t.numpy() for t in method.encoder(x, training=True))
    z = mean + np.exp(log_variance / 2) * noise_of(7)
    sse = squared_error(x, method.decoder(z, training=True))
    kl = np.mean(np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)) / 2
    values = method.train_step(x[None], tf.constant(7, tf.int64))
    expected = sse / (2 * gamma**2) + 128 * (np.log(gamma) + 0.91893) + kl
    assert float(values['loss/total']) == pytest.approx(expected, rel=1e-5)
    assert float(values['loss/kl']) == pytest.approx(kl, rel=1e-4)
    assert float(values['decoder/log_scale']) == pytest.approx(np.log(gamma), abs=2e-3)
    method.log_scale.assign(-9.0)  # limited to -6, a standard deviation of 0.0025
    values = method.train_step(x[None], tf.constant(7, tf.int64))
    assert float(values['decoder/log_scale']) == -6.0
    assert float(method.log_scale) > -9.0  # the error is much larger


def scale_after_training(x):
    """Returns ln of the learned scale and of the root mean square error after 400 steps."""
    spec = DatasetSpec('synthetic_2d', 'vectors', (x.shape[1],), 1000, 1000, (-1.0, 1.0))
    options = dict(method='two_stage_vae', dataset='synthetic_2d', latent_dim=2, batch_size=64)
    method = make(spec, ae_learning_rate=0.01, **options)

    @tf.function
    def train():
        for step in tf.range(400, dtype=tf.int64):
            start = tf.cast(step * 64 % 960, tf.int32)
            method.train_step(x[start : start + 64][None], step)

    train()
    # With sampled codes, as in training: the error of mean codes is smaller than the scale.
    error = np.mean(np.square(x - method.decode(method.sample_posterior(x, seed=1))))
    return float(method.log_scale), np.log(error) / 2


def test_learned_scale_shrinks_for_data_on_a_plane():
    rng = np.random.default_rng(0)
    plane = np.tanh(rng.normal(size=[1024, 2]) @ rng.normal(size=[2, 10]) / 2)
    full = rng.uniform(-0.8, 0.8, size=[1024, 10])
    scale, error = scale_after_training(tf.constant(plane, tf.float32))
    assert scale < -2.0  # the data have a standard deviation near 1/2
    assert scale == pytest.approx(error, abs=0.5)  # equal to the scale of the errors
    scale, error = scale_after_training(tf.constant(full, tf.float32))
    assert -1.2 < scale < -0.6  # two codes cannot represent ten values


def test_two_stage_vae_learning_rate_is_halved_at_each_third():
    options = dict(dataset='synthetic_2d', method='two_stage_vae', training_steps=300)
    method = make(VECTORS, ae_learning_rate=1e-4, **options)
    rates = []
    for step in range(300):
        method.ae_optimizer.iterations.assign(step)
        rates.append(float(method.ae_optimizer.learning_rate))
    np.testing.assert_allclose(rates[:100], 1e-4, rtol=1e-6)
    np.testing.assert_allclose(rates[100:200], 5e-5, rtol=1e-6)
    np.testing.assert_allclose(rates[200:], 2.5e-5, rtol=1e-6)
    plain = make(VECTORS, dataset='synthetic_2d', method='vae', training_steps=300)
    plain.ae_optimizer.iterations.assign(299)
    assert float(plain.ae_optimizer.learning_rate) == pytest.approx(1e-3)
