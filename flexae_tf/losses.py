"""Losses: one pure function per equation, to be minimized unless its docstring says otherwise.

Arguments are float32 tensors, results float32 scalars. The batch is the first axis.
"""

import math
from collections.abc import Callable, Iterable

import tensorflow as tf


def reconstruction(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """Squared error summed over each example and averaged over the batch: L_AE.

    Args:
        x: examples [batch, ...].
        x_hat: reconstructions, same shape.

    References:
        Eq. 4.
    """
    error = tf.reshape(x - x_hat, [tf.shape(x)[0], -1])
    return tf.reduce_mean(tf.reduce_sum(tf.square(error), axis=1))


def critic_loss(score: tf.Tensor, score_hat: tf.Tensor) -> tf.Tensor:
    """L_Critic without its penalty: minus the critic's estimate of the Wasserstein distance.

    Args:
        score: critic scores of encoded images [batch, 1].
        score_hat: critic scores of generated codes [batch, 1].

    References:
        Eq. 5.
    """
    return tf.reduce_mean(score_hat) - tf.reduce_mean(score)


def generator_loss(score_hat: tf.Tensor) -> tf.Tensor:
    """L_Gen.

    Args:
        score_hat: critic scores of generated codes [batch, 1].

    References:
        Eq. 6.
    """
    return -tf.reduce_mean(score_hat)


def encoder_loss(score: tf.Tensor) -> tf.Tensor:
    """L_Enc.

    Args:
        score: critic scores of encoded images [batch, 1].

    References:
        Eq. 7.
    """
    return tf.reduce_mean(score)


def gradient_penalty(
    critic_fn: Callable[[tf.Tensor], tf.Tensor],
    z: tf.Tensor,
    z_hat: tf.Tensor,
    mix: tf.Tensor,
) -> tf.Tensor:
    """Penalty of Eq. 5 without its weight beta.

    Args:
        critic_fn: maps [batch, ...] to scores [batch, 1].
        z: codes of images [batch, latent_dim], or other inputs of a critic [batch, ...].
        z_hat: generated codes, same shape.
        mix: alpha, uniform in [0, 1], one per sample [batch, 1, ...].

    Returns:
        Mean over the batch of (||gradient of the score at z_mix|| - 1)^2. No gradient flows into
        `z` and `z_hat`.

    References:
        Eq. 5; Gulrajani et al. 2017, Eq. 3.
    """
    z_mix = tf.stop_gradient(mix * z + (1.0 - mix) * z_hat)
    with tf.GradientTape() as tape:
        tape.watch(z_mix)
        score = critic_fn(z_mix)
    gradient = tape.gradient(score, z_mix)
    axes = list(range(1, gradient.shape.rank))
    # The derivative of a square root at zero is infinite; 1e-12 keeps it finite.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=axes) + 1e-12)
    return tf.reduce_mean(tf.square(norm - 1.0))


def kl_to_standard_normal(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, averaged over the batch.

    Args:
        mean: [batch, latent_dim].
        log_variance: same shape.

    References:
        Kingma and Welling 2014, Appendix B.
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return 0.5 * tf.reduce_mean(tf.reduce_sum(terms, axis=1))


def sigmoid_cross_entropy(logit: tf.Tensor, *, real: bool) -> tf.Tensor:
    """Cross-entropy of a discriminator's logits with one label for the whole batch.

    Args:
        logit: [batch, 1].
        real: the label.

    References:
        Goodfellow et al. 2014, Eq. 1, with the non-saturating loss of the generator.
    """
    return tf.reduce_mean(tf.nn.softplus(-logit if real else logit))


MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
    """Maximum mean discrepancy of codes, unbiased, so it may be negative.

    The kernel is the sum over `MMD_SCALES` of C / (C + |a - b|^2) with C = 2 latent_dim scale:
    inverse multiquadrics for codes of about unit variance.

    Args:
        z: codes of images [n, latent_dim], n > 1.
        z_hat: codes of the prior [n, latent_dim].

    References:
        Gretton et al. 2012, Eq. 3; Tolstikhin et al. 2018, Algorithm 2.
    """

    def kernel(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        squared_distance = tf.reduce_sum(tf.square(a[:, None] - b[None]), axis=2)  # [n, n]
        constants = [2.0 * z.shape[1] * scale for scale in MMD_SCALES]
        return tf.add_n([c / (c + squared_distance) for c in constants])

    def within(a: tf.Tensor) -> tf.Tensor:
        values = kernel(a, a)
        num = tf.cast(tf.shape(a)[0], tf.float32)
        return (tf.reduce_sum(values) - tf.linalg.trace(values)) / (num * (num - 1.0))

    return within(z) + within(z_hat) - 2.0 * tf.reduce_mean(kernel(z, z_hat))


def sliced_wasserstein(z: tf.Tensor, z_hat: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """Squared Wasserstein-2 distance of projected codes, averaged over directions.

    Args:
        z: codes of images [n, latent_dim].
        z_hat: codes of the prior, same shape.
        directions: unit vectors [latent_dim, k].

    References:
        Kolouri et al. 2019 (sliced Wasserstein auto-encoders).
    """
    sorted_z = tf.sort(tf.matmul(z, directions), axis=0)
    sorted_z_hat = tf.sort(tf.matmul(z_hat, directions), axis=0)
    return tf.reduce_mean(tf.square(sorted_z - sorted_z_hat))


def normalized_ess(log_weight: tf.Tensor) -> tf.Tensor:
    """Effective sample size of importance weights divided by n; a diagnostic, not a loss.

    Args:
        log_weight: ln of the weights [n, 1]; they need not be normalized.

    Returns:
        (sum w)^2 / (n sum w^2), from 1 / n to 1 (equal weights).

    References:
        Kong 1992.
    """
    log_weight = tf.reshape(log_weight, [-1])
    log_size = 2.0 * tf.reduce_logsumexp(log_weight) - tf.reduce_logsumexp(2.0 * log_weight)
    return tf.exp(log_size) / tf.cast(tf.size(log_weight), tf.float32)


def mean_squared_error(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """Squared error averaged over all values and the batch.

    Args:
        x: examples [batch, ...].
        x_hat: reconstructions, same shape.

    References:
        Mondal et al. 2020 (MaskAAE).
    """
    return tf.reduce_mean(tf.square(x - x_hat))


def cross_entropy(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy averaged over all values and the batch.

    Args:
        x: examples [batch, ...] in [0, 1].
        x_hat: reconstructions in [0, 1], same shape; clipped to [1e-7, 1 - 1e-7].

    References:
        Mondal et al. 2020 (MaskAAE).
    """
    x_hat = tf.clip_by_value(x_hat, 1e-7, 1.0 - 1e-7)
    return -tf.reduce_mean(x * tf.math.log(x_hat) + (1.0 - x) * tf.math.log1p(-x_hat))


def masked_variance(z: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Variance of the codes in masked dimensions, averaged over dimensions.

    Args:
        z: codes of the global batch before masking [n, latent_dim].
        mask: in [0, 1], [latent_dim]; the weight of a dimension is exp(-10 mask^2).

    References:
        Mondal et al. 2020 (MaskAAE).
    """
    variance = tf.math.reduce_variance(z, axis=0)
    return tf.reduce_mean(variance * tf.exp(-10.0 * tf.square(mask)))


def mask_polarization(mask: tf.Tensor) -> tf.Tensor:
    """Sum of |a (1 - a)| over a mask a; 0 for a mask of zeros and ones.

    Args:
        mask: [latent_dim].

    References:
        Mondal et al. 2020 (MaskAAE).
    """
    return tf.reduce_sum(tf.abs(mask * (1.0 - mask)))


def gaussian_nll(squared_error: tf.Tensor, log_scale: tf.Tensor, *, size: int) -> tf.Tensor:
    """Minus ln N(x; x_hat, scale^2 I), in nats.

    Args:
        squared_error: |x - x_hat|^2, summed over an example.
        log_scale: ln of the standard deviation.
        size: number of values in an example.

    References:
        Dai and Wipf 2019 (two-stage VAE).
    """
    constant = 0.5 * math.log(2.0 * math.pi)
    return 0.5 * squared_error * tf.exp(-2.0 * log_scale) + size * (log_scale + constant)


MIN_LOG_SCALE = -6.0  # with a lower one, a squared error of 0 would give an unbounded likelihood


def limited_log_scale(log_scale: tf.Tensor) -> tf.Tensor:
    """Clips a learned ln(standard deviation) to at least `MIN_LOG_SCALE`.

    Below the limit, only gradients that increase the value pass, so that it can recover when the
    error grows again.

    Args:
        log_scale: scalar.
    """

    @tf.custom_gradient
    def limit(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            passes = (value > MIN_LOG_SCALE) | (upstream < 0.0)
            return tf.where(passes, upstream, tf.zeros_like(upstream))

        return tf.maximum(value, MIN_LOG_SCALE), gradient

    return limit(tf.convert_to_tensor(log_scale))


def code_penalty(z: tf.Tensor) -> tf.Tensor:
    """Squared norm |z|^2 averaged over the batch.

    Args:
        z: codes [batch, latent_dim].

    References:
        Ghosh et al. 2020 (RAE), Section 3.1.
    """
    return tf.reduce_mean(tf.reduce_sum(tf.square(z), axis=1))


def decoder_penalty(kernels: Iterable[tf.Tensor]) -> tf.Tensor:
    """Sum of the squares of all entries of all kernels.

    Args:
        kernels: tensors of any shape, at least one.

    References:
        Ghosh et al. 2020 (RAE), Section 3.1.
    """
    return tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])


def squared_jvp_norm(
    decode: Callable[[tf.Tensor], tf.Tensor], z: tf.Tensor, direction: tf.Tensor
) -> tf.Tensor:
    """|J u|^2 with J the derivative of `decode` at z, by automatic differentiation.

    Args:
        decode: maps codes [batch, latent_dim] to examples [batch, ...], independently of each
            other: batch norm must be in inference mode.
        z: codes [batch, latent_dim]; gradients flow into them.
        direction: u, a unit vector for each code, same shape.

    Returns:
        [batch].

    References:
        Kumar, Poole and Murphy 2020 (InjFlow).
    """
    # J^T w is linear in w, and the derivative of <J^T w, u> with respect to w is J u. Outside eager
    # mode J^T w itself is never computed. `tf.autodiff.ForwardAccumulator` gives the same result,
    # but XLA recompiles its derivative of a bias at every call.
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(z)
            x_hat = decode(z)
        w = tf.zeros_like(x_hat)
        outer.watch(w)
        vjp = inner.gradient(x_hat, z, output_gradients=w)  # J^T w [batch, latent_dim]
    jvp = outer.gradient(vjp, w, output_gradients=direction)  # J u [batch, ...]
    flat = tf.reshape(jvp, [tf.shape(z)[0], -1])
    return tf.reduce_sum(tf.square(flat), axis=1)


def log_volume(squared_norm: tf.Tensor, *, latent_dim: int) -> tf.Tensor:
    """m ln |J u|, averaged over the batch; its mean over u is at least ln det(J^T J) / 2.

    With u uniform on the sphere, E[ln |J u|] is at least the mean of ln s_i over the singular
    values s_i of J, because ln is concave.

    Args:
        squared_norm: |J u|^2 of each code [batch].
        latent_dim: m.

    References:
        Kumar, Poole and Murphy 2020 (InjFlow).
    """
    # 1e-6 bounds value and slope where the decoder is flat along u.
    return 0.5 * latent_dim * tf.reduce_mean(tf.math.log(squared_norm + 1e-6))


def clamp_penalty(squared_norm: tf.Tensor, *, minimum: float) -> tf.Tensor:
    """min(|J u|^2 - minimum, 0)^2, averaged over the batch.

    Args:
        squared_norm: |J u|^2 of each code [batch].
        minimum: value from which the penalty is 0.

    References:
        Kumar, Poole and Murphy 2020 (InjFlow).
    """
    return tf.reduce_mean(tf.square(tf.minimum(squared_norm - minimum, 0.0)))
