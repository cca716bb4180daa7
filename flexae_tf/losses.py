"""One pure function per equation of the methods; everything is to be minimised."""

from collections.abc import Callable

import tensorflow as tf


def reconstruction(x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
    """L_AE of Eq. 4: the squared error summed over an example, averaged over the batch.

    Args:
        x: examples [batch, ...].
        x_hat: their reconstructions, same shape.
    """
    error = tf.reshape(x - x_hat, [tf.shape(x)[0], -1])
    return tf.reduce_mean(tf.reduce_sum(tf.square(error), axis=1))


def critic(score: tf.Tensor, score_hat: tf.Tensor) -> tf.Tensor:
    """L_Critic of Eq. 5 without its penalty: minus the critic's estimate of the distance W.

    Args:
        score: critic scores of encoded images [batch, 1].
        score_hat: critic scores of generated codes [batch, 1].
    """
    return tf.reduce_mean(score_hat) - tf.reduce_mean(score)


def generator(score_hat: tf.Tensor) -> tf.Tensor:
    """L_Gen of Eq. 6, of the critic scores of generated codes [batch, 1]."""
    return -tf.reduce_mean(score_hat)


def encoder(score: tf.Tensor) -> tf.Tensor:
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
        critic_fn: maps [batch, latent_dim] to scores [batch, 1].
        z: codes of images [batch, latent_dim].
        z_hat: generated codes, same shape.
        mix: alpha, uniform in [0, 1], one per sample [batch, 1].

    Returns:
        mean over the batch of (||gradient of the score at z_mix|| - 1)^2. No gradient flows into
        `z` and `z_hat`.
    """
    z_mix = tf.stop_gradient(mix * z + (1.0 - mix) * z_hat)
    with tf.GradientTape() as tape:
        tape.watch(z_mix)
        score = critic_fn(z_mix)
    gradient = tape.gradient(score, z_mix)  # [batch, latent_dim]
    # The derivative of a square root at zero is infinite; 1e-12 keeps it finite.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=1) + 1e-12)
    return tf.reduce_mean(tf.square(norm - 1.0))


def normal_divergence(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)), averaged over the batch.

    Kingma and Welling 2014, Appendix B.

    Args:
        mean: [batch, latent_dim].
        log_variance: same shape.
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return 0.5 * tf.reduce_mean(tf.reduce_sum(terms, axis=1))


def adversarial(logit: tf.Tensor, *, real: bool) -> tf.Tensor:
    """Cross-entropy of logits [batch, 1] with the claim that all are real, or that all are not."""
    return tf.reduce_mean(tf.nn.softplus(-logit if real else logit))
