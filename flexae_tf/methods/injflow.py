"""Injective flows: auto-encoders with a penalty on the volume change of the decoder."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, adam, minimize
from flexae_tf.methods.table import MethodSpec
from flexae_tf.noise import Role

# Clamp: |J u|^2 below eta = MIN_SQUARED_JVP is penalized with weight c. These constants are our
# choice, because the authors' constants are unknown. The clamp cannot balance k m ln |J u|: its
# slope by |J u|^2 is at most 2 c eta = 0.02, the other slope is at least k m / (2 eta) = 16 where
# the clamp acts (k = 0.01, m = 32). It indicates a flat decoder; the squared error prevents one.
MIN_SQUARED_JVP = 0.01
CLAMP_WEIGHT = 1.0


class InjFlow(Method):
    """InjFlow^ln (Kumar, Poole and Murphy 2020), with prior N(0, I).

    Minimizes |x - x_hat|^2 + volume_weight (|z|^2 / 2 + m ln |J u|) + CLAMP_WEIGHT min(|J u|^2 -
    MIN_SQUARED_JVP, 0)^2. J is the decoder's derivative at z, and u a direction, uniform on the
    sphere, for each example and iteration. The bracket is an upper bound of minus the log
    likelihood of x_hat, up to a constant. The authors published no code, and their weights are
    unknown.

    J u is exact, not a finite difference. The decoder is in inference mode, as in sampling: batch
    statistics would couple the examples.
    """

    priors = ('StandardNormal',)

    tags = (
        'loss/ae',
        'loss/code_penalty',
        'loss/log_volume',
        'loss/clamp_penalty',
        'loss/total',
        'grad_norm/ae',
    )

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes one step of Adam; the returned penalties are without their weights."""
        x, latent_dim = batches[0], self.config.latent_dim
        n = noise.normal(self.key(step, Role.DIRECTION), [x.shape[0], latent_dim])
        u = n / tf.norm(n, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            squared_jvp = losses.squared_jvp_norm(self.decode, z, u)
            code = losses.code_penalty(z)
            volume = losses.log_volume(squared_jvp, latent_dim=latent_dim)
            clamp = losses.clamp_penalty(squared_jvp, minimum=MIN_SQUARED_JVP)
            total = ae_loss + self.config.volume_weight * (0.5 * code + volume)
            total += CLAMP_WEIGHT * clamp
        norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)
        return {
            'loss/ae': ae_loss,
            'loss/code_penalty': code,
            'loss/log_volume': volume,
            'loss/clamp_penalty': clamp,
            'loss/total': total,
            'grad_norm/ae': norm,
        }
