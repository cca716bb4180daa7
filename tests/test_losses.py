import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import losses


def test_reconstruction_sums_over_pixels_and_averages_over_the_batch():
    x = np.zeros([2, 2, 2, 1], np.float32)
    x_hat = x.copy()
    x_hat[0, 0, 0, 0] = 3.0
    x_hat[1] = 1.0
    assert float(losses.reconstruction(x, x_hat)) == pytest.approx((9.0 + 4.0) / 2)


def test_critic_climbs_on_codes_and_generator_and_encoder_close_the_gap():
    score, score_hat = tf.constant([[1.0], [3.0]]), tf.constant([[5.0], [7.0]])
    assert float(losses.critic_loss(score, score_hat)) == 4.0  # Eq. 5: mean C(z_hat) - mean C(z)
    assert float(losses.generator_loss(score_hat)) == -6.0  # Eq. 6
    assert float(losses.encoder_loss(score)) == 2.0  # Eq. 7


@pytest.mark.parametrize('norm', [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic(norm):
    w = tf.constant([[0.6], [0.8]]) * norm
    z, z_hat = tf.random.stateless_normal([2, 5, 2], [1, 2])
    penalty = losses.gradient_penalty(lambda v: v @ w, z, z_hat, tf.ones([5, 1]) * 0.3)
    assert float(penalty) == pytest.approx((norm - 1.0) ** 2, abs=1e-5)


def test_penalty_has_a_finite_gradient_where_the_critic_is_flat():
    w = tf.Variable(tf.zeros([2, 1]))
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(
            lambda v: v @ w, tf.ones([4, 2]), tf.zeros([4, 2]), tf.ones([4, 1])
        )
    assert np.isfinite(tape.gradient(penalty, w)).all()


def test_penalty_is_taken_between_the_codes_and_stops_there():
    z, z_hat = tf.constant([[2.0]]), tf.constant([[0.0]])
    with tf.GradientTape() as tape:
        tape.watch([z, z_hat])
        # C(v) = v^2, slope 2 v; at the mix 0.25 * 2 + 0.75 * 0 = 0.5 it is 1.
        penalty = losses.gradient_penalty(tf.square, z, z_hat, tf.constant([[0.25]]))
    assert float(penalty) == pytest.approx(0.0, abs=1e-6)
    assert tape.gradient(penalty, [z, z_hat]) == [None, None]


@pytest.mark.parametrize(
    ('log_scale', 'slope', 'limited', 'passed'),
    [(-5.0, 2.0, -5.0, 2.0), (-9.0, 2.0, -6.0, 0.0), (-9.0, -2.0, -6.0, -2.0)],
)
def test_a_scale_stops_at_its_limit_and_can_come_back(log_scale, slope, limited, passed):
    variable = tf.Variable(log_scale)
    with tf.GradientTape() as tape:
        value = losses.limited_log_scale(variable)
        loss = slope * value
    assert float(value) == limited
    assert float(tape.gradient(loss, variable)) == passed
