"""What a method is: the face that trainer, evaluation and export know."""

from __future__ import annotations

import abc
import enum
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.architectures import find_architecture
from flexae_tf.networks.autoencoder import Decoder, Encoder, GaussianEncoder
from flexae_tf.networks.batch_norm import set_momentum
from flexae_tf.noise import Role
from flexae_tf.priors import Prior

# A log variance outside of these is a training that is about to fail; there its gradient ends.
LOG_VARIANCE_LIMITS = (-10.0, 10.0)


class NetworkRole(enum.IntEnum):
    """Whose initial weights; equal numbers begin equal in every method of a seed."""

    ENCODER = 0
    DECODER = 1
    GENERATOR = 2
    CRITIC = 3
    OTHER = 4


class Method(keras.Model, abc.ABC):
    """A generative auto-encoder with everything it trains: networks and optimizers.

    Subclasses create `encoder`, `decoder` and their other networks and optimizers as named
    attributes (a list or dict of them would silently be missing from checkpoints), and build the
    optimizers, so that a restored checkpoint finds every moment.

    Attributes:
        options: the resolved configuration.
        spec: what the examples are.
        method_spec: the method's row of the table.
        prior: where `sample_latent` draws from; an ex-post density may take its place, and a method
            without a prior has None until then.
        tags: the names of what `train_step` returns, which are TensorBoard tags.
    """

    tags: tuple[str, ...] = ()

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(name=re.sub(r'\W+', '_', config.method))
        self.config = config
        self.spec = spec
        self.method_spec = method_spec
        self.architecture = find_architecture(config, spec.shape)
        self.prior: Prior | None = None

    def build_autoencoder(
        self, encoder: Callable[..., Encoder | GaussianEncoder] = Encoder
    ) -> None:
        """Makes `encoder` and `decoder` of Tables 5-6."""
        dtype = 'mixed_bfloat16' if self.config.precision == 'mixed_bfloat16' else 'float32'
        sizes = dict(shape=self.spec.shape, latent_dim=self.config.latent_dim, dtype=dtype)
        self.encoder = encoder(
            self.architecture, seed=self.weight_seed(NetworkRole.ENCODER), **sizes
        )
        self.decoder = Decoder(
            self.architecture, seed=self.weight_seed(NetworkRole.DECODER), **sizes
        )
        for network in (self.encoder, self.decoder):
            set_momentum(network, self.config.bn_momentum)

    def weight_seed(self, role: NetworkRole) -> int:
        """The seed of the initial weights of a network; its layers take the numbers that follow."""
        key = noise.key(self.config.seed, 0, Role.WEIGHTS)
        return int(noise.integers(key, [len(NetworkRole)], 2**31 - 64)[role])

    @property
    def autoencoder_variables(self) -> list:
        """What the auto-encoder step trains: encoder and decoder."""
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    @property
    def batches_per_step(self) -> int:
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
            blocks: examples [batches_per_step, batch, ...].
            step: the iteration's number, int64; all noise and every schedule come from it.

        Returns:
            a scalar for each of `tags`: losses are means over this replica's batch; what a critic
            reports is of its last step in the iteration.
        """

    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Draws [num, latent_dim] from the prior; a longer draw begins as the shorter one.

        Bit for bit where no network draws: that adds up in another order in a larger batch.

        Raises:
            UsageError: as `require_prior`.
        """
        return self.require_prior().sample(num, seed)

    def require_prior(self) -> Prior:
        """The prior, or the ex-post density in its place.

        Raises:
            UsageError: there is neither.
        """
        if self.prior is None:
            raise UsageError(
                f'{self.name} has no prior to sample from: fit a density to its codes first, with '
                'bin/evaluate.py --density=gaussian_mixture'
            )
        return self.prior

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

    def key(self, step: tf.Tensor, role: Role, index: int = 0) -> noise.Key:
        """The key of this run's draws of `role` at `step`."""
        return noise.key(self.config.seed, step, role, index)


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


def draw_normal(mean: tf.Tensor, log_variance: tf.Tensor, key: noise.Key) -> tf.Tensor:
    """Draws of N(mean, exp(log_variance)), [batch, latent_dim] as both."""
    shape = [tf.shape(mean)[0], mean.shape[1]]
    return mean + tf.exp(0.5 * log_variance) * noise.normal(key, shape)


def piecewise_constant(
    start: float, steps: int, drops: tuple[tuple[float, float], ...]
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate that is `start` times a factor from each share of `steps` updates on.

    Args:
        start: the rate at the beginning.
        steps: updates in the whole training.
        drops: (share of the training, factor from then on), in order.
    """
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        # Keras' boundaries are the last update of a piece.
        [int(share * steps) - 1 for share, _ in drops],
        [start, *(start * factor for _, factor in drops)],
    )


def linear_warmup(step: tf.Tensor, steps: int) -> tf.Tensor:
    """Rises linearly from 0 to 1 over the first tenth of a training of `steps` iterations."""
    return tf.minimum(1.0, tf.cast(step, tf.float32) / (0.1 * steps))


def all_gather_batch(values: tf.Tensor) -> tf.Tensor:
    """The global batch [replicas * batch, ...] of which `values` [batch, ...] is this replica's.

    For losses that are no plain means over examples. Its gradient is the sum of those of all
    replicas, so that `minimize`, which averages, finds the gradient of the global loss.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return values
    place = tf.one_hot(context.replica_id_in_sync_group, replicas)  # [replicas]
    spread = tf.tensordot(place, values, axes=0)  # [replicas, batch, ...]
    gathered = context.all_reduce(tf.distribute.ReduceOp.SUM, spread)
    return tf.reshape(gathered, [-1, *values.shape[1:]])


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
