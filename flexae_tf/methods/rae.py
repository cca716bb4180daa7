"""Deterministic auto-encoders that get their density afterwards: AE and RAE."""

import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, MethodSpec, adam, minimize


class Rae(Method):
    """A plain auto-encoder, or the regularized one of Ghosh et al. 2020 (RAE-L2).

    Minimizes |x - x_hat|^2 + code_weight |z|^2 + decoder_weight |kernels of the decoder|^2. Without
    weights (`ae_gmm`) the first term is all there is. Every kernel counts, the first FC's too; the
    authors' builder leaves that one out on MNIST and CIFAR-10. Biases and what batch norm has do
    not. There is no prior: samples need a density fitted to the codes.
    """

    tags = ('loss/ae', 'loss/code_penalty', 'loss/decoder_penalty', 'loss/total', 'grad_norm/ae')

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self._code_weight = config.code_weight or 0.0
        self._decoder_weight = config.decoder_weight or 0.0
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of Adam; the penalties are reported without their weights."""
        del step  # nothing is drawn
        x = blocks[0]
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
        """The kernels of the decoder's convolutions, transposed or not, and FC layers."""
        return [v for v in self.decoder.trainable_variables if v.name == 'kernel']
