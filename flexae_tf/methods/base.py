"""What a method is: the face that trainer, evaluation and export know."""

import abc

import keras
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec


class Method(keras.Model, abc.ABC):
    """A generative auto-encoder with everything it trains: networks and optimizers.

    Subclasses create `encoder`, `decoder` and their other networks and optimizers as named
    attributes (a list or dict of them would silently be missing from checkpoints), and build the
    optimizers, so that a restored checkpoint finds every moment.

    Attributes:
        options: the resolved configuration.
        spec: what the examples are.
        tags: the names of what `train_step` returns, which are TensorBoard tags.
    """

    tags: tuple[str, ...] = ()

    def __init__(self, config: TrainConfig, spec: DatasetSpec) -> None:
        super().__init__(name=config.method)
        self.options = config
        self.spec = spec

    @property
    def image_blocks(self) -> int:
        """How many batches of examples one iteration eats."""
        return 1

    @property
    def state(self) -> list:
        """All variables that training needs: of the networks and of the optimizers."""
        optimizers = [v for v in vars(self).values() if isinstance(v, keras.optimizers.Optimizer)]
        return self.variables + [v for optimizer in optimizers for v in optimizer.variables]

    @abc.abstractmethod
    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One iteration.

        Args:
            blocks: examples [image_blocks, batch, ...].
            step: the iteration's number, int64; all noise and every schedule come from it.

        Returns:
            a scalar for each of `tags`: losses are means over this replica's batch; what a critic
            reports is of its last step in the iteration.
        """

    @abc.abstractmethod
    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Draws [num, latent_dim] from the prior; a longer draw begins with the shorter one."""

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Deterministic codes [batch, latent_dim] of examples [batch, ...]."""
        return self.encoder(x, training=False)

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """A draw from q(z given x) [batch, latent_dim]; the code itself when deterministic."""
        del seed
        return self.encode(x)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Images in [0, 1] (vectors in the data's own range) of codes [batch, latent_dim]."""
        return self.decoder(z, training=False)

    def reconstruct(self, x: tf.Tensor) -> tf.Tensor:
        """Decoded codes of examples [batch, ...], same shape."""
        return self.decode(self.encode(x))

    def sample(self, num: int | tf.Tensor, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """`num` generated examples [num, ...]; the same seed gives the same examples."""
        return self.decode(self.sample_latent(num, seed))

    @property
    def has_critic(self) -> bool:
        """Whether `critic_distance` can be asked."""
        return type(self).critic_distance is not Method.critic_distance

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """How far codes [n, m] are from the prior's [n, m] as the method's own critic sees it."""
        raise NotImplementedError(f'{self.name} has no critic')

    def key(self, step: tf.Tensor, role: noise.Role, index: int = 0) -> noise.Key:
        """The key of this run's draws of `role` at `step`."""
        return noise.key(self.options.seed, step, role, index)


def adam(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    beta_1: float,
    beta_2: float,
    variables: list,
    name: str,
) -> keras.optimizers.Optimizer:
    """Adam with the epsilon of TensorFlow 1 (1e-8, not Keras' 1e-7), built for `variables`."""
    optimizer = keras.optimizers.Adam(learning_rate, beta_1, beta_2, epsilon=1e-8, name=name)
    optimizer.build(variables)
    return optimizer


def minimize(
    loss: tf.Tensor, tape: tf.GradientTape, optimizer: keras.optimizers.Optimizer, variables: list
) -> tf.Tensor:
    """One optimizer step down the gradient of `loss`; returns the gradient's Euclidean norm."""
    gradients = tape.gradient(loss, variables)
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    # Keras' optimizers sum over replicas what they are given.
    shares = [g / replicas for g in gradients] if replicas > 1 else gradients
    optimizer.apply_gradients(zip(shares, variables, strict=True))
    return tf.linalg.global_norm(gradients)
