"""The maths of VAEs."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods import build_method
from flexae_tf.noise import Role

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))


def make(**options):
    small = dict(width_multiplier=0.05, latent_dim=4, batch_size=6)
    return build_method(TrainConfig(**{**small, **options}), IMAGES)


def test_divergence_against_tensorflow_probability():
    import tensorflow_probability as tfp

    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=[2, 50, 7]).astype(np.float32)
    q = tfp.distributions.MultivariateNormalDiag(mean, np.exp(0.5 * log_variance))
    p = tfp.distributions.MultivariateNormalDiag(np.zeros(7, np.float32), np.ones(7, np.float32))
    expected = np.mean(tfp.distributions.kl_divergence(q, p))
    assert float(losses.normal_divergence(mean, log_variance)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.normal_divergence(tf.zeros([3, 2]), tf.zeros([3, 2]))) == 0.0


@pytest.mark.parametrize('kl_weight', [None, 0.1])
def test_the_loss_written_out(kl_weight):
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


@pytest.mark.parametrize(
    ('method', 'options'),
    [('beta_vae', dict(kl_weight=0.1)), ('wae_gan', dict(adversarial_weight=9))],
)
def test_a_weight_and_its_method_go_together(method, options):
    with pytest.raises(UsageError, match=method):
        TrainConfig(method='vae', **options)
    with pytest.raises(UsageError, match=f'needed .flags/methods/{method}.flags'):
        TrainConfig(method=method)
    assert TrainConfig(method=method, **options).method == method


def test_the_posterior_is_that_of_the_encoder():
    method = make(method='vae')
    x = tf.constant(np.random.RandomState(0).rand(1, 28, 28, 1), tf.float32)
    mean, log_variance = method.posterior(x, training=False)
    draws = method.sample_posterior(tf.repeat(x, 4000, axis=0), seed=1).numpy()
    np.testing.assert_allclose(draws.mean(axis=0), mean[0], atol=0.08)
    np.testing.assert_allclose(draws.std(axis=0), np.exp(0.5 * log_variance[0]), rtol=0.05)
