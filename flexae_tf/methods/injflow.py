"""Injective flows: auto-encoders whose decoder is asked not to inflate volumes."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, MethodSpec, adam, minimize
from flexae_tf.noise import Role
from flexae_tf.priors import StandardNormal

# Of the clamp: eta, below which |J u|^2 is pushed up, and its weight c. Our choice: the authors'
# constants could not be found. So weighted it cannot hold what k m ln |J u| pulls down: by |J u|^2
# its slope is at most 2 c eta = 0.02, that of the other at least k m / (2 eta) = 16 where it acts
# (k = 0.01, m = 32). It shows a decoder that goes flat; the squared error keeps it from there.
LEAST_STRETCH = 0.01
CLAMP_WEIGHT = 1.0


class InjFlow(Method):
    """InjFlow^ln (Kumar, Poole and Murphy 2020), with prior N(0, I).

    Minimizes |x - x_hat|^2 + volume_weight (|z|^2 / 2 + m ln |J u|) + CLAMP_WEIGHT min(|J u|^2 -
    LEAST_STRETCH, 0)^2 with J the decoder's derivative at z, and one direction u for each example
    and iteration, uniform on the sphere. The bracket is an upper bound of minus the log likelihood
    of x_hat, up to a constant. The authors published no code, and their weights are not to be
    recovered.

    J u is exact, where others take a finite difference. It is of the decoder in inference mode:
    that is the decoder samples come from, and batch statistics would tie the examples together.
    """

    tags = (
        'loss/ae',
        'loss/code_penalty',
        'loss/log_volume',
        'loss/clamp_penalty',
        'loss/total',
        'grad_norm/ae',
    )

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.prior = StandardNormal(config.latent_dim)
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of Adam; the penalties are reported without their weights."""
        x, latent_dim = blocks[0], self.config.latent_dim
        n = noise.normal(self.key(step, Role.DIRECTION), [x.shape[0], latent_dim])
        u = n / tf.norm(n, axis=1, keepdims=True)
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            stretch = losses.squared_jvp_norm(self.decode, z, u)
            code = losses.code_penalty(z)
            volume = losses.log_volume(stretch, latent_dim=latent_dim)
            clamp = losses.clamp_penalty(stretch, minimum=LEAST_STRETCH)
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
