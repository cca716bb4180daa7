"""Deterministic auto-encoders with a density fitted after training: AE and RAE."""

import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, adam, minimize
from flexae_tf.methods.table import MethodSpec


class Rae(Method):
    """A plain auto-encoder, or the regularized one of Ghosh et al. 2020 (RAE-L2).

    Minimizes |x - x_hat|^2 + code_weight |z|^2 + decoder_weight |kernels of the decoder|^2.
    `ae_gmm` has the first term only. The last term includes every kernel, also of the first FC
    layer, which the authors' code omits for MNIST and CIFAR-10, but no biases and no batch-norm
    weights. There is no prior: sampling needs a density fitted to codes.
    """

    priors = (None,)
    tags = ('loss/ae', 'loss/code_penalty', 'loss/decoder_penalty', 'loss/total', 'grad_norm/ae')

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self._code_weight = config.code_weight or 0.0
        self._decoder_weight = config.decoder_weight or 0.0
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes one step of Adam; the returned penalties are without their weights."""
        del step  # no noise
        x = batches[0]
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            code = losses.code_penalty(z)
            kernels = losses.decoder_penalty(self.decoder_kernels)
            total = ae_loss + self._code_weight * code + self._decoder_weight * kernels
        norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)
        return {
            'loss/ae': ae_loss,
            'loss/code_penalty': code,
            'loss/decoder_penalty': kernels,
            'loss/total': total,
            'grad_norm/ae': norm,
        }

    @property
    def decoder_kernels(self) -> list:
        """Kernels of the convolutions, transposed convolutions and FC layers of the decoder."""
        return [v for v in self.decoder.trainable_variables if v.name == 'kernel']
