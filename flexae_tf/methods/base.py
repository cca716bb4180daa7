"""Public interface of a method, and the functions that every training step uses."""

from __future__ import annotations

import abc
import enum
import functools
import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec, synthetic
from flexae_tf.data.batches import ParallelFunction
from flexae_tf.errors import UsageError
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.architectures import find_architecture
from flexae_tf.networks.autoencoder import Decoder, Encoder, GaussianEncoder
from flexae_tf.networks.batch_norm import set_momentum
from flexae_tf.networks.latent import Generator
from flexae_tf.noise import Role
from flexae_tf.priors import GaussianMixture, LearnedPrior, Prior, StandardNormal

# Limits of a log variance; its gradient is 0 outside. Beyond these, training is about to diverge.
LOG_VARIANCE_LIMITS = (-10.0, 10.0)


class NetworkRole(enum.IntEnum):
    """Roles of networks; the initial weights of a network depend on its role and the seed."""

    ENCODER = 0
    DECODER = 1
    GENERATOR = 2
    CRITIC = 3
    OTHER = 4


class Method(keras.Model, abc.ABC):
    """A generative auto-encoder with its networks and optimizers.

    A subclass creates `encoder`, `decoder` and its other networks and optimizers as named
    attributes, because Keras does not track the contents of a list or dict in checkpoints. It
    builds its optimizers, so that a checkpoint restores their moments.

    Attributes:
        config: the resolved configuration.
        spec: the examples.
        method_spec: the method's row of the table.
        architecture: the networks' row of Tables 5-8.
        prior: distribution that `sample_latent` samples from. A fitted density can replace it.
            None if the row has no prior.
        tags: names of the scalars that `train_step` returns; they are TensorBoard tags.
        priors: priors that the class can have; names of classes of `flexae_tf.priors`, or None.
    """

    tags: tuple[str, ...] = ()
    priors: tuple[str | None, ...] = ('StandardNormal', 'GaussianMixture')

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(name=re.sub(r'\W+', '_', config.method))
        if method_spec.prior not in self.priors:
            raise UsageError(
                f'--method={method_spec.name}: {type(self).__name__} cannot have the prior '
                f'{method_spec.prior}. Choose one of {", ".join(map(str, self.priors))}.'
            )
        self.config = config
        self.spec = spec
        self.method_spec = method_spec
        self.architecture = find_architecture(config, spec.shape)
        self.prior: Prior | None = self.build_prior()

    def build_autoencoder(
        self, encoder: Callable[..., Encoder | GaussianEncoder] = Encoder
    ) -> None:
        """Creates `encoder` and `decoder` (Tables 5 and 6)."""
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

    def build_generator(self) -> LearnedPrior:
        """Creates `generator` (P-GEN, Tables 5, 7 and 8) and `gen_optimizer`; returns the prior."""
        self.generator = Generator(
            self.architecture.generator,
            noise_dim=self.config.noise_dim,
            latent_dim=self.config.latent_dim,
            seed=self.weight_seed(NetworkRole.GENERATOR),
        )
        self.gen_optimizer = adam(
            self.config.gen_learning_rate, 0.0, 0.9, self.generator.trainable_variables, 'gen'
        )
        return LearnedPrior(self.generator, self.config.noise_dim)

    def build_prior(self) -> Prior | None:
        """Builds the prior that the method's row names; the constructor calls it first.

        A class with further `priors` overrides this method, returns these priors, and calls
        `super().build_prior()` for the others. It must not use networks that do not exist yet.
        """
        match self.method_spec.prior:
            case None:
                return None
            case 'StandardNormal':
                return StandardNormal(self.config.latent_dim)
            case 'GaussianMixture':
                return six_gaussians(self.config)
        raise NotImplementedError(f'{type(self).__name__}: builds no {self.method_spec.prior}')

    def weight_seed(self, role: NetworkRole) -> int:
        """Returns the seed of a network's initial weights; its layers use the seeds after it."""
        key = noise.key(self.config.seed, 0, Role.WEIGHTS)
        return int(noise.integers(key, [len(NetworkRole)], 2**31 - 64)[role])

    @property
    def autoencoder_variables(self) -> list:
        """Trainable variables of encoder and decoder (phi, theta)."""
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    @property
    def batches_per_step(self) -> int:
        """Number of batches that one training step consumes."""
        return 1

    @property
    def state(self) -> list:
        """All variables that training needs, of networks and optimizers."""
        optimizers = [v for v in vars(self).values() if isinstance(v, keras.optimizers.Optimizer)]
        return self.variables + [v for optimizer in optimizers for v in optimizer.variables]

    @abc.abstractmethod
    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs one iteration of training.

        Args:
            batches: examples [batches_per_step, batch, ...].
            step: number of the iteration, int64; noise and schedules are functions of it.

        Returns:
            A scalar for each of `tags`. Losses are means over the batch of this replica. Values of
            a critic belong to its last update in the iteration.
        """

    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples codes [num, latent_dim] from the prior.

        The first codes do not depend on `num`. If a network produces them, their last bits can,
        because sums are added in another order in a larger batch.

        Raises:
            UsageError: as `require_prior`.
        """
        return self.require_prior().sample(num, seed)

    def require_prior(self) -> Prior:
        """Returns the prior, or the density that replaces it.

        Raises:
            UsageError: the method has neither.
        """
        if self.prior is None:
            raise UsageError(
                f'--method={self.config.method}: no prior to sample from. Fit a density to its '
                'codes with bin/fit.py --density=gaussian_mixture.'
            )
        return self.prior

    @functools.cached_property
    def traced(self) -> TracedFunctions:
        """The functions below for many examples; a checkpoint does not include them."""
        return TracedFunctions(self)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the deterministic codes [batch, latent_dim] of examples [batch, ...]."""
        return self.encoder(x, training=False)

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples codes [batch, latent_dim] from q(z given x); `encode` for a deterministic one."""
        del seed
        return self.encode(x)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Decodes codes [batch, latent_dim] to images in [0, 1], or vectors in the data's range."""
        return self.decoder(z, training=False)

    def reconstruct(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the decoded codes of examples [batch, ...], in the same shape."""
        return self.decode(self.encode(x))

    def sample(self, num: int | tf.Tensor, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Samples examples [num, ...] as a function of the seed."""
        return self.decode(self.sample_latent(num, seed))

    @property
    def has_critic(self) -> bool:
        """True if the method has a `critic_distance`."""
        return type(self).critic_distance is not Method.critic_distance

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """Returns the critic's estimate of the distance of codes [n, m] and prior codes [n, m]."""
        raise NotImplementedError(f'{self.name}: has no critic')

    def key(self, step: tf.Tensor, role: Role, index: int = 0) -> noise.Key:
        """Returns the key of this run's noise of a role at a step."""
        return noise.key(self.config.seed, step, role, index)


class TracedFunctions:
    """Functions of a method, each traced once for batches of every size.

    All devices that the method was built for run `encode`, `decode` and `reconstruct`.
    `sample_posterior` is traced once for each size.
    They read the weights when they are called, so they need no new trace after a training step or
    after another checkpoint is restored.

    Args:
        method: the method.

    Attributes:
        encode: `Method.encode`.
        decode: `Method.decode`.
        reconstruct: `Method.reconstruct`.
        sample_posterior: `Method.sample_posterior`.
        posterior: mean and log variance of q(z given x) side by side, [batch, 2 latent_dim]; only
            for a method with Gaussian posteriors.
    """

    def __init__(self, method: Method) -> None:
        x = tf.TensorSpec([None, *method.spec.shape], tf.float32)
        z = tf.TensorSpec([None, method.config.latent_dim], tf.float32)

        def trace(function: Callable, batch: tf.TensorSpec) -> ParallelFunction:
            traced = tf.function(function, input_signature=[batch])
            return ParallelFunction(traced, method.distribute_strategy)

        self.encode = trace(method.encode, x)
        self.decode = trace(method.decode, z)
        self.reconstruct = trace(method.reconstruct, x)
        # By size: TensorFlow rounds the product with noise of unknown size in another way.
        self.sample_posterior = tf.function(method.sample_posterior)
        self.posterior = tf.function(
            lambda batch: tf.concat(method.posterior(batch, training=False), axis=1),
            input_signature=[x],
        )


def six_gaussians(config: ResolvedConfig) -> GaussianMixture:
    """Returns the mixture of six Gaussians that `--mixture` names; the paper specifies no mixture.

    `data` is the mixture that the latent vectors of `synthetic_2d` are sampled from, the best
    possible fixed prior. `circle` has components of variance 1 on a circle of radius 6 around the
    origin, in the plane of the first two coordinates.

    Raises:
        UsageError: `--mixture` is missing.
    """
    if config.mixture is None:
        raise UsageError(
            f'--mixture: missing, --method={config.method} has the prior GaussianMixture. Give it.'
        )
    if config.mixture == 'data':
        means, deviations = np.array(synthetic.MEANS[2]), np.sqrt(synthetic.VARIANCES)
    else:
        angles = 2.0 * np.pi * np.arange(6) / 6
        means = np.zeros([6, config.latent_dim])
        means[:, :2] = 6.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        deviations = np.ones(6)
    scale_tril = deviations[:, None, None] * np.eye(config.latent_dim)
    return GaussianMixture(np.ones(6), means, scale_tril)


class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with the same update, as one operation of TensorFlow per variable.

    Keras uses about twenty, which take longer to trace, and to launch on a GPU.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates a variable and its two moments."""
        index = self._get_variable_index(variable)
        update = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**update,
            beta2_power=self.beta_2**update,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def adam(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    beta_1: float,
    beta_2: float,
    variables: list,
    name: str,
) -> keras.optimizers.Optimizer:
    """Returns Adam for `variables` with the epsilon of TensorFlow 1 (1e-8; Keras has 1e-7)."""
    optimizer = FusedAdam(learning_rate, beta_1, beta_2, epsilon=1e-8, name=name)
    optimizer.build(variables)
    return optimizer


def sample_normal(mean: tf.Tensor, log_variance: tf.Tensor, key: noise.Key) -> tf.Tensor:
    """Samples N(mean, exp(log_variance)); both arguments and the result [batch, latent_dim]."""
    shape = [tf.shape(mean)[0], mean.shape[1]]
    return mean + tf.exp(0.5 * log_variance) * noise.normal(key, shape)


def piecewise_constant(
    start: float, steps: int, drops: tuple[tuple[float, float], ...]
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a learning rate that is multiplied by a factor from given fractions of training on.

    Args:
        start: initial learning rate.
        steps: number of updates in the training.
        drops: (fraction of the training in [0, 1], factor of `start` from there on), in order.
    """
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        # A boundary of Keras is the last update of a piece.
        [int(fraction * steps) - 1 for fraction, _ in drops],
        [start, *(start * factor for _, factor in drops)],
    )


def linear_warmup(step: tf.Tensor, steps: int) -> tf.Tensor:
    """Returns a weight that rises linearly from 0 to 1 over the first tenth of `steps` steps."""
    return tf.minimum(1.0, tf.cast(step, tf.float32) / (0.1 * steps))


def all_gather_batch(values: tf.Tensor) -> tf.Tensor:
    """Gathers a batch from all replicas, for losses that are no means over examples.

    Its gradient is the sum of the gradients of all replicas. `minimize` averages over replicas, so
    that it follows the gradient of the global loss.

    Args:
        values: batch of this replica [batch, ...].

    Returns:
        The global batch [replicas * batch, ...].
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return values
    position = tf.one_hot(context.replica_id_in_sync_group, replicas)  # [replicas]
    spread = tf.tensordot(position, values, axes=0)  # [replicas, batch, ...]
    gathered = context.all_reduce(tf.distribute.ReduceOp.SUM, spread)
    return tf.reshape(gathered, [-1, *values.shape[1:]])


def minimize(
    loss: tf.Tensor, tape: tf.GradientTape, optimizer: keras.optimizers.Optimizer, variables: list
) -> tf.Tensor:
    """Takes one optimizer step on `loss`.

    Args:
        loss: scalar of this replica, recorded by `tape`.
        tape: its recording.
        optimizer: built for `variables`.
        variables: variables to update.

    Returns:
        Euclidean norm of the gradient, averaged over replicas.
    """
    gradients = tape.gradient(loss, variables)
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        optimizer._all_reduce_sum_gradients = list  # Keras would reduce them once more
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return tf.linalg.global_norm(gradients)
