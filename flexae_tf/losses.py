"""One pure function per equation of the methods; everything is to be minimised."""

import math
from collections.abc import Callable, Iterable

import tensorflow as tf


def reconstruction(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """L_AE of Eq. 4: the squared error summed over an example, averaged over the batch.

    Args:
        x: examples [batch, ...].
        x_hat: their reconstructions, same shape.
    """
    error = tf.reshape(x - x_hat, [tf.shape(x)[0], -1])
    return tf.reduce_mean(tf.reduce_sum(tf.square(error), axis=1))


def critic_loss(score: tf.Tensor, score_hat: tf.Tensor) -> tf.Tensor:
    """L_Critic of Eq. 5 without its penalty: minus the critic's estimate of the distance W.

    Args:
        score: critic scores of encoded images [batch, 1].
        score_hat: critic scores of generated codes [batch, 1].
    """
    return tf.reduce_mean(score_hat) - tf.reduce_mean(score)


def generator_loss(score_hat: tf.Tensor) -> tf.Tensor:
    """L_Gen of Eq. 6, of the critic scores of generated codes [batch, 1]."""
    return -tf.reduce_mean(score_hat)


def encoder_loss(score: tf.Tensor) -> tf.Tensor:
    """L_Enc of Eq. 7, of the critic scores of encoded images [batch, 1]."""
    return tf.reduce_mean(score)


def gradient_penalty(
    critic_fn: Callable[[tf.Tensor], tf.Tensor],
    z: tf.Tensor,
    z_hat: tf.Tensor,
    mix: tf.Tensor,
) -> tf.Tensor:
    """The penalty of Eq. 5 without its weight beta (Gulrajani et al. 2017).

    Args:
        critic_fn: maps [batch, ...] to scores [batch, 1].
        z: codes of images [batch, latent_dim], or what else a critic scores [batch, ...].
        z_hat: generated codes, same shape.
        mix: alpha, uniform in [0, 1], one per sample [batch, 1, ...].

    Returns:
        mean over the batch of (||gradient of the score at z_mix|| - 1)^2. No gradient flows into
        `z` and `z_hat`.
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
    """KL(N(mean, exp(log_variance)) || N(0, I)), averaged over the batch.

    Kingma and Welling 2014, Appendix B.

    Args:
        mean: [batch, latent_dim].
        log_variance: same shape.
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return 0.5 * tf.reduce_mean(tf.reduce_sum(terms, axis=1))


def sigmoid_cross_entropy(logit: tf.Tensor, *, real: bool) -> tf.Tensor:
    """Cross-entropy of logits [batch, 1] with the claim that all are real, or that all are not."""
    return tf.reduce_mean(tf.nn.softplus(-logit if real else logit))


MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
    """Maximum mean discrepancy of codes, unbiased (Tolstikhin et al. 2018).

    The kernel is the sum over `MMD_SCALES` of C / (C + |a - b|^2), C = 2 latent_dim scale: inverse
    multiquadrics for codes of about unit variance.

    Args:
        z: codes of images [n, latent_dim], n > 1.
        z_hat: codes of the prior [n, latent_dim].
    """

    def kernel(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        square = tf.reduce_sum(tf.square(a[:, None] - b[None]), axis=2)  # [n, n]
        constants = [2.0 * z.shape[1] * scale for scale in MMD_SCALES]
        return tf.add_n([c / (c + square) for c in constants])

    def within(a: tf.Tensor) -> tf.Tensor:
        values = kernel(a, a)
        num = tf.cast(tf.shape(a)[0], tf.float32)
        return (tf.reduce_sum(values) - tf.linalg.trace(values)) / (num * (num - 1.0))

    return within(z) + within(z_hat) - 2.0 * tf.reduce_mean(kernel(z, z_hat))


def sliced_wasserstein(z: tf.Tensor, z_hat: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """Squared Wasserstein-2 distance of codes along lines, averaged (Kolouri et al. 2019).

    Args:
        z: codes of images [n, latent_dim].
        z_hat: codes of the prior, same shape.
        directions: unit vectors [latent_dim, k].
    """
    sorted_z = tf.sort(tf.matmul(z, directions), axis=0)
    sorted_z_hat = tf.sort(tf.matmul(z_hat, directions), axis=0)
    return tf.reduce_mean(tf.square(sorted_z - sorted_z_hat))


def normalized_ess(log_weight: tf.Tensor) -> tf.Tensor:
    """The effective sample size of importance weights [n, 1], as a share of n: 1 when all equal."""
    log_weight = tf.reshape(log_weight, [-1])
    log_size = 2.0 * tf.reduce_logsumexp(log_weight) - tf.reduce_logsumexp(2.0 * log_weight)
    return tf.exp(log_size) / tf.cast(tf.size(log_weight), tf.float32)


def mean_squared_error(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """The squared error of a value, averaged over values and batch; shapes as `reconstruction`."""
    return tf.reduce_mean(tf.square(x - x_hat))


def cross_entropy(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of a value, averaged over values and batch.

    Args:
        x: examples [batch, ...] in [0, 1].
        x_hat: their reconstructions in [0, 1], same shape; kept 1e-7 away from both ends.
    """
    x_hat = tf.clip_by_value(x_hat, 1e-7, 1.0 - 1e-7)
    return -tf.reduce_mean(x * tf.math.log(x_hat) + (1.0 - x) * tf.math.log1p(-x_hat))


def masked_variance(z: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The variance of codes where a mask is closed, averaged over dimensions (MaskAAE).

    Args:
        z: unmasked codes of the global batch [n, latent_dim].
        mask: in [0, 1], [latent_dim]; an open dimension weighs exp(-10).
    """
    variance = tf.math.reduce_variance(z, axis=0)
    return tf.reduce_mean(variance * tf.exp(-10.0 * tf.square(mask)))


def mask_polarization(mask: tf.Tensor) -> tf.Tensor:
    """How far a mask [latent_dim] is from one of zeros and ones: the sum of |a (1 - a)|."""
    return tf.reduce_sum(tf.abs(mask * (1.0 - mask)))


def gaussian_nll(square: tf.Tensor, log_scale: tf.Tensor, *, size: int) -> tf.Tensor:
    """Minus ln N(x; x_hat, scale^2 I), in nats.

    Args:
        square: |x - x_hat|^2, summed over an example.
        log_scale: ln of the standard deviation.
        size: values in an example.
    """
    constant = 0.5 * math.log(2.0 * math.pi)
    return 0.5 * square * tf.exp(-2.0 * log_scale) + size * (log_scale + constant)


LOWEST_LOG_SCALE = -6.0  # below, a square error of 0 would win


def limited_log_scale(log_scale: tf.Tensor) -> tf.Tensor:
    """A learned ln(standard deviation), kept at `LOWEST_LOG_SCALE` or above.

    From below it is still told to rise: an error that grows again can bring it back.
    """

    @tf.custom_gradient
    def limit(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            passes = (value > LOWEST_LOG_SCALE) | (upstream < 0.0)
            return tf.where(passes, upstream, tf.zeros_like(upstream))

        return tf.maximum(value, LOWEST_LOG_SCALE), gradient

    return limit(tf.convert_to_tensor(log_scale))


def code_penalty(z: tf.Tensor) -> tf.Tensor:
    """|z|^2 of codes [batch, latent_dim], averaged over the batch (Ghosh et al. 2020)."""
    return tf.reduce_mean(tf.reduce_sum(tf.square(z), axis=1))


def decoder_penalty(kernels: Iterable[tf.Tensor]) -> tf.Tensor:
    """The squares of the entries of all kernels, summed (Ghosh et al. 2020, Section 3.1)."""
    return tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])


def squared_jvp_norm(
    decode: Callable[[tf.Tensor], tf.Tensor], z: tf.Tensor, direction: tf.Tensor
) -> tf.Tensor:
    """|J u|^2 with J the derivative of `decode` at z; exact, no finite difference.

    Args:
        decode: maps codes [batch, latent_dim] to examples [batch, ...], each for itself: a batch
            norm must be in inference mode, or it would mix them.
        z: codes [batch, latent_dim]; gradients flow into them.
        direction: u, a unit vector for each code, same shape.

    Returns:
        [batch].
    """
    # J^T w is linear in w, and the derivative of <J^T w, u> by w is J u; nothing is computed of
    # J^T w itself outside eager mode. `tf.autodiff.ForwardAccumulator` gives the same, but XLA
    # compiles what it makes of a bias anew at every call.
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(z)
            x_hat = decode(z)
        w = tf.zeros_like(x_hat)
        outer.watch(w)
        pulled = inner.gradient(x_hat, z, output_gradients=w)  # J^T w [batch, latent_dim]
    pushed = outer.gradient(pulled, w, output_gradients=direction)  # J u [batch, ...]
    moved = tf.reshape(pushed, [tf.shape(z)[0], -1])
    return tf.reduce_sum(tf.square(moved), axis=1)


def log_volume(stretch: tf.Tensor, *, latent_dim: int) -> tf.Tensor:
    """m ln |J u|, averaged over the batch: at least the ln of J's volume, in the mean over u.

    With u uniform on the sphere, E[ln |J u|] is no less than the mean of ln s_i, s_i being the
    singular values of J, because ln is concave (Kumar, Poole and Murphy 2020).

    Args:
        stretch: |J u|^2 of each code [batch].
        latent_dim: m.
    """
    # A decoder that is flat along u would gain without limit; so gain and slope are bounded.
    return 0.5 * latent_dim * tf.reduce_mean(tf.math.log(stretch + 1e-6))


def clamp_penalty(stretch: tf.Tensor, *, least: float) -> tf.Tensor:
    """How far |J u|^2 [batch] falls below `least`, squared, averaged over the batch."""
    return tf.reduce_mean(tf.square(tf.minimum(stretch - least, 0.0)))
