"""One class per public loss: value by hand, gradient, edge cases."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.noise import Role


def gradients(function, *arguments):
    """Returns the gradients of a scalar function with respect to its arguments."""
    tensors = [tf.constant(argument, tf.float32) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors)


def numerical_gradient(function, x, step=1e-2):
    """Returns the gradient of a scalar function by central differences, shape of `x`."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        offset = np.zeros(x.shape, np.float32)
        offset[index] = step
        gradient[index] = (float(function(x + offset)) - float(function(x - offset))) / (2 * step)
    return gradient


class TestReconstruction:
    def test_value_is_summed_over_pixels_and_averaged_over_the_batch(self):
        x = np.zeros([2, 2, 2, 1], np.float32)
        x_hat = x.copy()
        x_hat[0, 0, 0, 0] = 3.0
        x_hat[1] = 1.0
        assert float(losses.reconstruction(x, x_hat)) == pytest.approx((9.0 + 4.0) / 2)

    def test_gradient_is_twice_the_error_over_the_batch_size(self):
        x, x_hat = [[1.0, 2.0], [0.0, 0.0]], [[0.0, 4.0], [1.0, 0.0]]
        _, gradient = gradients(losses.reconstruction, x, x_hat)
        np.testing.assert_allclose(gradient, [[-1.0, 2.0], [1.0, 0.0]])

    def test_value_of_a_perfect_reconstruction_is_zero(self):
        x = tf.random.stateless_uniform([3, 4], [1, 2])
        assert float(losses.reconstruction(x, x)) == 0.0


SCORE, SCORE_HAT = [[1.0], [3.0]], [[5.0], [7.0]]


class TestCriticLoss:
    def test_value_is_the_mean_of_generated_minus_encoded_scores(self):
        loss = losses.critic_loss(tf.constant(SCORE), tf.constant(SCORE_HAT))
        assert float(loss) == 4.0

    def test_gradient_raises_encoded_and_lowers_generated_scores(self):
        encoded, generated = gradients(losses.critic_loss, SCORE, SCORE_HAT)
        np.testing.assert_allclose(encoded, [[-0.5], [-0.5]])
        np.testing.assert_allclose(generated, [[0.5], [0.5]])

    def test_value_of_equal_scores_is_zero(self):
        assert float(losses.critic_loss(tf.constant(SCORE), tf.constant(SCORE))) == 0.0


class TestGeneratorLoss:
    def test_value_is_minus_the_mean_score(self):
        assert float(losses.generator_loss(tf.constant(SCORE_HAT))) == -6.0

    def test_gradient_raises_the_scores(self):
        np.testing.assert_allclose(*gradients(losses.generator_loss, SCORE_HAT), [[-0.5], [-0.5]])

    def test_value_of_one_sample_is_minus_its_score(self):
        assert float(losses.generator_loss(tf.constant([[-2.5]]))) == 2.5


class TestEncoderLoss:
    def test_value_is_the_mean_score(self):
        assert float(losses.encoder_loss(tf.constant(SCORE))) == 2.0

    def test_gradient_lowers_the_scores(self):
        np.testing.assert_allclose(*gradients(losses.encoder_loss, SCORE), [[0.5], [0.5]])

    def test_value_with_the_generator_loss_is_the_estimated_distance(self):
        score, score_hat = tf.constant(SCORE), tf.constant(SCORE_HAT)
        total = losses.encoder_loss(score) + losses.generator_loss(score_hat)
        assert float(total) == -float(losses.critic_loss(score, score_hat))


class TestGradientPenalty:
    @pytest.mark.parametrize('norm', [0.0, 0.5, 1.0, 3.0])
    def test_value_for_a_linear_critic_depends_on_its_norm(self, norm):
        w = tf.constant([[0.6], [0.8]]) * norm
        z, z_hat = tf.random.stateless_normal([2, 5, 2], [1, 2])
        penalty = losses.gradient_penalty(lambda v: v @ w, z, z_hat, tf.ones([5, 1]) * 0.3)
        assert float(penalty) == pytest.approx((norm - 1.0) ** 2, abs=1e-5)

    def test_value_for_images_uses_the_norm_over_all_pixels(self):
        def critic(x):  # slope 3 at each of 4 pixels: norm 6
            return tf.reduce_sum(3.0 * x, axis=[1, 2, 3])[:, None]

        x, x_hat, mix = tf.ones([3, 2, 2, 1]), tf.zeros([3, 2, 2, 1]), tf.fill([3, 1, 1, 1], 0.5)
        penalty = losses.gradient_penalty(critic, x, x_hat, mix)
        assert float(penalty) == pytest.approx(25.0, rel=1e-5)

    def test_value_is_taken_at_the_mix(self):
        z, z_hat = tf.constant([[2.0]]), tf.constant([[0.0]])
        for mix, slope in ((0.0, 0.0), (0.25, 1.0), (1.0, 4.0)):  # C(v) = v^2, slope 2 v
            penalty = losses.gradient_penalty(tf.square, z, z_hat, tf.constant([[mix]]))
            assert float(penalty) == pytest.approx((slope - 1.0) ** 2, abs=1e-5)

    def test_gradient_reaches_the_critic(self):
        w = tf.Variable([[3.0], [4.0]])  # norm 5
        z, z_hat = tf.constant([[2.0, 0.0]]), tf.constant([[0.0, 1.0]])
        with tf.GradientTape() as tape:
            penalty = losses.gradient_penalty(lambda v: v @ w, z, z_hat, tf.constant([[0.25]]))
        for_critic = tape.gradient(penalty, w)
        np.testing.assert_allclose(for_critic, 2.0 * (5.0 - 1.0) * w / 5.0, rtol=1e-5)

    def test_gradient_does_not_reach_the_codes(self):
        # The slope of C(v) = v^2 depends on v, so a penalty on the codes would have a gradient.
        z, z_hat = tf.constant([[2.0]]), tf.constant([[1.0]])
        with tf.GradientTape() as tape:
            tape.watch([z, z_hat])
            penalty = losses.gradient_penalty(tf.square, z, z_hat, tf.constant([[0.25]]))
        assert tape.gradient(penalty, [z, z_hat]) == [None, None]

    def test_gradient_of_a_flat_critic_is_finite(self):
        w = tf.Variable(tf.zeros([2, 1]))
        with tf.GradientTape() as tape:
            penalty = losses.gradient_penalty(
                lambda v: v @ w, tf.ones([4, 2]), tf.zeros([4, 2]), tf.ones([4, 1])
            )
        assert np.isfinite(tape.gradient(penalty, w)).all()


class TestKlToStandardNormal:
    def test_value_is_the_one_of_tensorflow_probability(self):
        import tensorflow_probability as tfp

        rng = np.random.default_rng(0)
        mean, log_variance = rng.normal(size=[2, 50, 7]).astype(np.float32)
        q = tfp.distributions.MultivariateNormalDiag(mean, np.exp(0.5 * log_variance))
        p = tfp.distributions.MultivariateNormalDiag(
            np.zeros(7, np.float32), np.ones(7, np.float32)
        )
        expected = np.mean(tfp.distributions.kl_divergence(q, p))
        found = losses.kl_to_standard_normal(mean, log_variance)
        assert float(found) == pytest.approx(expected, rel=1e-5)

    def test_gradient_pulls_mean_and_log_variance_to_zero(self):
        for_mean, for_log_variance = gradients(
            losses.kl_to_standard_normal, [[1.0, -2.0]], [[0.0, math.log(3.0)]]
        )
        np.testing.assert_allclose(for_mean, [[1.0, -2.0]])
        np.testing.assert_allclose(for_log_variance, [[0.0, 1.0]], atol=1e-6)

    def test_value_of_a_standard_normal_is_zero(self):
        assert float(losses.kl_to_standard_normal(tf.zeros([3, 2]), tf.zeros([3, 2]))) == 0.0


class TestSigmoidCrossEntropy:
    @pytest.mark.parametrize('real', [True, False])
    def test_value_is_minus_the_log_probability_of_the_label(self, real):
        p = 1 / (1 + np.exp(-2.0))
        expected = -(np.log(0.5) + np.log(p if real else 1 - p)) / 2
        found = losses.sigmoid_cross_entropy(tf.constant([[0.0], [2.0]]), real=real)
        assert float(found) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize('real', [True, False])
    def test_gradient_is_the_probability_minus_the_label(self, real):
        (gradient,) = gradients(
            lambda logit: losses.sigmoid_cross_entropy(logit, real=real), [[0.0], [2.0]]
        )
        p = 1 / (1 + np.exp([[0.0], [-2.0]]))
        np.testing.assert_allclose(gradient, (p - real) / 2, rtol=1e-5)

    def test_value_of_large_logits_is_finite(self):
        logit = tf.constant([[-200.0]])
        assert float(losses.sigmoid_cross_entropy(logit, real=True)) == pytest.approx(200.0)
        assert float(losses.sigmoid_cross_entropy(logit, real=False)) == pytest.approx(0.0)


def mmd_by_loops(z, z_hat):
    """Sums the kernel over pairs, one by one."""

    def k(a, b):
        constants = [2 * z.shape[1] * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return sum(c / (c + np.sum((a - b) ** 2)) for c in constants)

    n = len(z)
    pairs = list(itertools.permutations(range(n), 2))  # i != j, each order
    within = sum(k(z[i], z[j]) + k(z_hat[i], z_hat[j]) for i, j in pairs) / (n * (n - 1))
    cross = sum(k(a, b) for a in z for b in z_hat) / n**2
    return within - 2 * cross


class TestMmd:
    @pytest.mark.parametrize('dim', [1, 3])
    def test_value_is_the_one_of_a_loop_over_pairs(self, dim):
        rng = np.random.default_rng(dim)
        z, z_hat = rng.normal(size=[7, dim]) + 1.0, rng.normal(size=[7, dim]) * 2.0
        found = float(losses.mmd(tf.constant(z, tf.float32), tf.constant(z_hat, tf.float32)))
        assert found == pytest.approx(mmd_by_loops(z, z_hat), rel=1e-4)

    def test_value_is_unbiased_and_increases_with_a_shift(self):
        """The mean over many pairs of small samples of one distribution is 0 (biased: 2 a / n)."""
        pairs = noise.normal(noise.key(0, 0, Role.SAMPLE), [4000, 2, 5, 2])
        values = tf.vectorized_map(lambda pair: losses.mmd(pair[0], pair[1]), pairs)
        error = np.std(values) / np.sqrt(4000)
        assert abs(np.mean(values)) < 4 * error and error < 0.02
        z, z_hat = noise.normal(noise.key(1, 0, Role.SAMPLE), [2, 200, 2])
        assert float(losses.mmd(z + [1.0, -0.5], z_hat)) > 0.3

    def test_gradient_is_the_one_of_central_differences(self):
        z, z_hat = np.random.default_rng(0).normal(size=[2, 4, 2]).astype(np.float32)
        (gradient,) = gradients(lambda v: losses.mmd(v, tf.constant(z_hat)), z)
        expected = numerical_gradient(lambda v: mmd_by_loops(v.astype(np.float64), z_hat), z, 1e-3)
        np.testing.assert_allclose(gradient, expected, rtol=1e-2, atol=1e-3)

    def test_gradient_of_equal_codes_is_finite(self):
        for gradient in gradients(losses.mmd, np.ones([4, 2]), np.ones([4, 2])):
            assert np.isfinite(gradient).all()


class TestSlicedWasserstein:
    @pytest.mark.parametrize('dim', [1, 3])
    def test_value_is_the_one_of_a_loop_over_directions(self, dim):
        rng = np.random.default_rng(dim)
        z, z_hat = rng.normal(size=[2, 9, dim]).astype(np.float32)
        z[:2] = z[2]  # ties
        directions = rng.normal(size=[dim, 4]).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=0)
        squares = []
        for direction in directions.T:
            a, b = sorted(z @ direction), sorted(z_hat @ direction)
            squares.append(np.mean([(s - t) ** 2 for s, t in zip(a, b, strict=True)]))
            # The same pairing gives the Wasserstein-1 distance of SciPy.
            mean = np.mean([abs(s - t) for s, t in zip(a, b, strict=True)])
            assert mean == pytest.approx(scipy.stats.wasserstein_distance(a, b), rel=1e-4)
        found = float(losses.sliced_wasserstein(z, z_hat, directions))
        assert found == pytest.approx(np.mean(squares), rel=1e-5)

    def test_gradient_moves_each_code_to_its_partner(self):
        directions = tf.constant([[1.0], [0.0]])
        (gradient,) = gradients(
            lambda z: losses.sliced_wasserstein(
                z, tf.constant([[5.0, 0.0], [1.0, 0.0]]), directions
            ),
            [[0.0, 7.0], [3.0, 7.0]],  # partners: 0 -> 1, 3 -> 5
        )
        np.testing.assert_allclose(gradient, [[-1.0, 0.0], [-2.0, 0.0]])

    def test_value_does_not_depend_on_the_order_of_codes(self):
        z = tf.random.stateless_normal([6, 2], [1, 2])
        assert float(losses.sliced_wasserstein(z, z[::-1], tf.eye(2))) == 0.0


class TestNormalizedEss:
    def test_value_of_two_weights(self):
        two = tf.math.log([[1.0], [3.0]])
        assert float(losses.normalized_ess(two)) == pytest.approx(16 / 10 / 2, rel=1e-5)

    def test_gradient_raises_small_and_lowers_large_weights(self):
        (gradient,) = gradients(losses.normalized_ess, np.log([[1.0], [3.0]]))
        # Of (a + b)^2 / (2 (a^2 + b^2)) with respect to ln a and ln b, at a = 1 and b = 3.
        np.testing.assert_allclose(gradient, [[0.24], [-0.24]], rtol=1e-5)

    def test_value_of_equal_weights_is_one(self):
        assert float(losses.normalized_ess(tf.fill([8, 1], 3.0))) == pytest.approx(1.0, rel=1e-5)

    def test_value_of_one_dominant_weight_is_one_over_n(self):
        weights = tf.constant([[0.0], [-90.0], [-90.0], [-90.0]])
        assert float(losses.normalized_ess(weights)) == pytest.approx(1 / 4, rel=1e-5)


class TestMeanSquaredError:
    def test_value_is_averaged_over_values_and_batch(self):
        x, x_hat = tf.constant([[0.0, 1.0], [0.5, 0.2]]), tf.constant([[0.0, 1.0], [0.5, 0.5]])
        assert float(losses.mean_squared_error(x, x_hat)) == pytest.approx(0.09 / 4)

    def test_gradient_is_twice_the_error_over_the_number_of_values(self):
        _, gradient = gradients(losses.mean_squared_error, [[0.0, 1.0]], [[2.0, 1.0]])
        np.testing.assert_allclose(gradient, [[2.0, 0.0]])

    def test_value_is_the_reconstruction_over_the_number_of_values(self):
        x, x_hat = tf.random.stateless_normal([2, 3, 4, 4, 1], [1, 2])
        expected = float(losses.reconstruction(x, x_hat)) / 16
        assert float(losses.mean_squared_error(x, x_hat)) == pytest.approx(expected, rel=1e-5)


class TestCrossEntropy:
    def test_value_is_averaged_over_values_and_batch(self):
        x, x_hat = tf.constant([[0.0, 1.0], [0.5, 0.2]]), tf.constant([[0.0, 1.0], [0.5, 0.5]])
        assert float(losses.cross_entropy(x, x_hat)) == pytest.approx(np.log(2) / 2, rel=1e-5)

    def test_gradient_is_zero_at_the_example(self):
        _, gradient = gradients(losses.cross_entropy, [[0.3, 1.0]], [[0.3, 0.5]])
        np.testing.assert_allclose(gradient, [[0.0, -1.0]], atol=1e-5)

    def test_value_of_a_wrong_certain_pixel_is_finite(self):
        wrong = float(losses.cross_entropy(tf.ones([1, 1]), tf.zeros([1, 1])))
        assert wrong == pytest.approx(-np.log(1e-7), rel=1e-5)


MASKED_CODES = [[1.0, 0.0], [3.0, 8.0]]  # variances 1 and 16


class TestMaskedVariance:
    def test_value_weights_variances_by_the_mask(self):
        half = losses.masked_variance(tf.constant(MASKED_CODES), tf.constant([1.0, 0.0]))
        assert float(half) == pytest.approx((np.exp(-10) + 16) / 2)

    def test_gradient_pulls_masked_codes_together_and_opens_the_mask(self):
        for_z, for_mask = gradients(losses.masked_variance, MASKED_CODES, [0.0, 0.2])
        np.testing.assert_allclose(for_z[:, 0], [-0.5, 0.5])
        np.testing.assert_allclose(for_mask, [0.0, -20 * 0.2 * np.exp(-0.4) * 16 / 2], rtol=1e-5)

    def test_value_of_a_closed_mask_is_the_mean_variance(self):
        closed = losses.masked_variance(tf.constant(MASKED_CODES), tf.zeros([2]))
        assert float(closed) == pytest.approx(17 / 2)


class TestMaskPolarization:
    def test_value_is_the_sum_of_a_times_one_minus_a(self):
        mask = tf.constant([0.0, 1.0, 0.5, 0.1])
        assert float(losses.mask_polarization(mask)) == pytest.approx(0.34)

    def test_gradient_pushes_away_from_one_half(self):
        (gradient,) = gradients(losses.mask_polarization, [0.1, 0.5, 0.8])
        np.testing.assert_allclose(gradient, [0.8, 0.0, -0.6], atol=1e-6)

    def test_value_of_zeros_and_ones_is_zero(self):
        assert float(losses.mask_polarization(tf.constant([0.0, 1.0, 1.0]))) == 0.0


class TestGaussianNll:
    def test_value_is_the_one_of_scipy(self):
        x, x_hat = np.random.default_rng(0).normal(size=[2, 30])
        squared_error = tf.constant(np.sum((x - x_hat) ** 2), tf.float32)
        found = float(losses.gaussian_nll(squared_error, tf.constant(-0.7), size=30))
        expected = -scipy.stats.norm(x_hat, np.exp(-0.7)).logpdf(x).sum()
        assert found == pytest.approx(expected, rel=1e-5)

    def test_gradient_is_zero_at_the_best_scale(self):
        for log_scale, sign in ((-0.1, -1.0), (0.0, 0.0), (0.1, 1.0)):
            for_error, for_scale = gradients(
                lambda error, scale: losses.gaussian_nll(error, scale, size=5), 5.0, log_scale
            )
            assert np.sign(np.round(for_scale, 4)) == sign
            assert float(for_error) == pytest.approx(0.5 * np.exp(-2 * log_scale), rel=1e-5)

    def test_value_without_error_is_the_normalization(self):
        found = float(losses.gaussian_nll(tf.constant(0.0), tf.constant(0.0), size=4))
        assert found == pytest.approx(2.0 * np.log(2.0 * np.pi), rel=1e-6)


class TestLimitedLogScale:
    @pytest.mark.parametrize(
        ('log_scale', 'expected'), [(-5.0, -5.0), (2.0, 2.0), (-6.0, -6.0), (-9.0, -6.0)]
    )
    def test_value_is_at_least_the_limit(self, log_scale, expected):
        assert float(losses.limited_log_scale(tf.constant(log_scale))) == expected

    @pytest.mark.parametrize(
        ('log_scale', 'slope', 'expected'), [(-5.0, 2.0, 2.0), (-9.0, 2.0, 0.0), (-9.0, -2.0, -2.0)]
    )
    def test_gradient_below_the_limit_only_raises(self, log_scale, slope, expected):
        (gradient,) = gradients(lambda v: slope * losses.limited_log_scale(v), log_scale)
        assert float(gradient) == expected


class TestCodePenalty:
    def test_value_is_summed_over_dimensions_and_averaged_over_the_batch(self):
        z = tf.constant([[1.0, 2.0], [0.0, -3.0]])
        assert float(losses.code_penalty(z)) == (5.0 + 9.0) / 2

    def test_gradient_is_twice_the_code_over_the_batch_size(self):
        (gradient,) = gradients(losses.code_penalty, [[1.0, 2.0], [0.0, -3.0]])
        np.testing.assert_allclose(gradient, [[1.0, 2.0], [0.0, -3.0]])

    def test_value_of_zeros_is_zero(self):
        assert float(losses.code_penalty(tf.zeros([3, 2]))) == 0.0


class TestDecoderPenalty:
    def test_value_is_summed_over_kernels_of_any_shape(self):
        kernels = [tf.constant([[1.0, -2.0]]), tf.fill([2, 1, 1, 3], 2.0)]
        assert float(losses.decoder_penalty(kernels)) == 5.0 + 6 * 4.0

    def test_gradient_is_twice_the_kernel(self):
        found = gradients(lambda *k: losses.decoder_penalty(k), [[1.0, -2.0]], [[[3.0]]])
        np.testing.assert_allclose(found[0], [[2.0, -4.0]])
        np.testing.assert_allclose(found[1], [[[6.0]]])

    def test_value_of_one_kernel_is_its_squared_norm(self):
        assert float(losses.decoder_penalty(iter([tf.constant([[3.0, 4.0]])]))) == 25.0


def unit_vectors(num, dim, seed=0):
    """Returns random unit vectors, float32 [num, dim]."""
    u = np.random.default_rng(seed).normal(size=[num, dim]).astype(np.float32)
    return u / np.linalg.norm(u, axis=1, keepdims=True)


class TestSquaredJvpNorm:
    def test_value_for_a_linear_decoder(self):
        jacobian = tf.constant([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
        u = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        found = losses.squared_jvp_norm(lambda z: z @ tf.transpose(jacobian), tf.zeros([3, 2]), u)
        np.testing.assert_allclose(found, [9.0, 16.0, 1.8**2 + 3.2**2], rtol=1e-6)

    def test_value_for_images_is_the_one_of_the_whole_jacobian(self):
        w = tf.constant(np.random.default_rng(0).normal(size=[4, 18]), tf.float32)

        def decode(z):
            return tf.reshape(tf.sin(z @ w), [-1, 3, 3, 2])

        z, u = tf.constant(unit_vectors(5, 4, seed=1)), tf.constant(unit_vectors(5, 4))
        with tf.GradientTape() as tape:
            tape.watch(z)
            x_hat = decode(z)
        jacobian = tf.reshape(tape.batch_jacobian(x_hat, z), [5, 18, 4])
        expected = tf.reduce_sum(tf.einsum('bdm,bm->bd', jacobian, u) ** 2, axis=1)
        np.testing.assert_allclose(losses.squared_jvp_norm(decode, z, u), expected, rtol=1e-4)

    def test_gradient_reaches_codes_and_decoder(self):
        w = tf.Variable(2.0)
        z, u = tf.constant([[3.0]]), tf.constant([[1.0]])
        with tf.GradientTape() as tape:
            tape.watch(z)  # x_hat = w z^2, J = 2 w z, |J u|^2 = 4 w^2 z^2
            value = tf.reduce_sum(losses.squared_jvp_norm(lambda v: w * v**2, z, u))
        for_z, for_w = tape.gradient(value, [z, w])
        np.testing.assert_allclose(for_z, [[8 * 4.0 * 3.0]])
        assert float(for_w) == 8 * 2.0 * 9.0

    def test_value_of_a_constant_decoder_is_zero(self):
        found = losses.squared_jvp_norm(lambda z: 0.0 * z, tf.ones([2, 3]), tf.ones([2, 3]))
        assert found.numpy().tolist() == [0.0, 0.0]


class TestLogVolume:
    @pytest.mark.parametrize('spread', [0.0, 1.0, 3.0])
    def test_value_lies_between_its_bounds(self, spread):
        rng = np.random.default_rng(int(spread))
        left, right = (np.linalg.qr(rng.normal(size=[n, 6]))[0] for n in (20, 6))
        s = np.exp(rng.uniform(-spread, spread, size=6) + 0.7)
        jacobian = ((left * s) @ right.T).astype(np.float32)
        squared_norm = losses.squared_jvp_norm(
            lambda z: z @ jacobian.T, tf.zeros([4000, 6]), tf.constant(unit_vectors(4000, 6))
        )
        volume = float(losses.log_volume(squared_norm, latent_dim=6))
        upper = 3.0 * np.log(np.sum(s**2) / 6)
        if spread:
            assert np.sum(np.log(s)) + 0.1 < volume < upper - 0.1
        else:  # all singular values are equal
            assert volume == pytest.approx(np.sum(np.log(s)), rel=1e-5)

    def test_gradient_is_half_of_m_over_the_squared_norm(self):
        (gradient,) = gradients(lambda v: losses.log_volume(v, latent_dim=4), [0.5, 2.0])
        np.testing.assert_allclose(gradient, [2.0, 0.5], rtol=1e-5)

    def test_value_and_gradient_of_a_flat_decoder_are_finite(self):
        flat = tf.zeros([3])
        volume = losses.log_volume(flat, latent_dim=4)
        assert float(volume) == pytest.approx(2.0 * np.log(1e-6), rel=1e-5)
        (gradient,) = gradients(lambda v: losses.log_volume(v, latent_dim=4), flat)
        assert np.isfinite(gradient).all()


SQUARED_NORM = [0.0, 0.004, 0.01, 5.0]


class TestClampPenalty:
    def test_value_is_the_mean_squared_shortfall(self):
        clamp = losses.clamp_penalty(tf.constant(SQUARED_NORM), minimum=0.01)
        assert float(clamp) == pytest.approx((0.01**2 + 0.006**2) / 4, rel=1e-5)

    def test_gradient_raises_values_below_the_minimum_only(self):
        (gradient,) = gradients(lambda v: losses.clamp_penalty(v, minimum=0.01), SQUARED_NORM)
        np.testing.assert_allclose(gradient, [-0.02 / 4, -0.012 / 4, 0.0, 0.0], rtol=1e-5)

    def test_value_at_or_above_the_minimum_is_zero(self):
        assert float(losses.clamp_penalty(tf.constant([0.01, 1.0]), minimum=0.01)) == 0.0
