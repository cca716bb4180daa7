"""Tables 5-8 of the paper and the released code's networks as plain data, and their lookup.

Layers are written like in the paper: Conv_{channels, kernel, stride}, TCONV, FC. Padding is 'same',
because no other padding gives the decoder's sizes.
"""

import dataclasses
import itertools
import math
from typing import NamedTuple

from flexae_tf.config import TrainConfig
from flexae_tf.data import CODES
from flexae_tf.errors import UsageError


class Conv(NamedTuple):
    """Conv_{channels, kernel, stride} -> optional BN -> activation."""

    channels: int
    kernel: int
    stride: int
    activation: str = 'elu'
    batch_norm: bool = True


class TConv(NamedTuple):
    """TCONV_{channels, kernel, stride} -> BN -> activation."""

    channels: int
    kernel: int
    stride: int
    activation: str = 'elu'


class Dense(NamedTuple):
    """FC_units -> optional BN -> activation."""

    units: int
    activation: str
    batch_norm: bool = False


class DenseReshape(NamedTuple):
    """FC_{side x side x channels} -> BN -> activation -> the decoder's first feature map."""

    channels: int
    activation: str = 'elu'


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The networks of one data set, or of the released code.

    Attributes:
        size: height and width of the images, by which `auto` selects the row; None for vectors and
            for a row that `auto` never selects.
        latent_dim: the paper's m; None for the m of the row that `auto` selects.
        encoder: hidden layers; FC_m follows. Images are flattened before the first FC.
        decoder: hidden layers.
        last_kernel: kernel of the decoder's last convolution (sigmoid); None for vectors, where the
            decoder ends in FC_d -> tanh.
        generator: hidden units of P-GEN (ReLU each); FC_m follows.
        critic: hidden units of the critic (ReLU each); FC_1 follows.
        image_critic: hidden layers of the released variant's critic of images; FC_1 follows.
    """

    size: int | None
    latent_dim: int | None
    encoder: tuple[Conv | Dense, ...]
    decoder: tuple[Dense | DenseReshape | TConv, ...]
    last_kernel: int | None
    generator: tuple[int, ...] = (1024, 512)  # Table 7
    critic: tuple[int, ...] = (512, 256, 128, 128)  # Table 7
    image_critic: tuple[Conv | Dense, ...] = (  # dair-iitd/FlexAE, FlexAESR.py
        Conv(64, 4, 2, 'relu', batch_norm=False),
        Conv(128, 4, 2, 'relu', batch_norm=False),
        Dense(1024, 'relu'),
    )

    @property
    def encoder_stride(self) -> int:
        """Factor by which the encoder reduces the size of an image."""
        return math.prod(layer.stride for layer in self.encoder if isinstance(layer, Conv))

    @property
    def decoder_stride(self) -> int:
        """Factor by which the decoder enlarges its first feature map."""
        return math.prod(layer.stride for layer in self.decoder if isinstance(layer, TConv))

    @property
    def stride(self) -> int:
        """Image sizes must be multiples of this number."""
        return math.lcm(self.encoder_stride, self.decoder_stride)


ARCHITECTURES = {
    'mnist': Architecture(  # Table 6
        size=28,
        latent_dim=32,
        encoder=(
            Conv(64, 4, 1),
            Conv(128, 4, 1),
            Conv(256, 4, 2),
            Conv(512, 4, 2),
            Conv(512, 4, 1),
        ),
        decoder=(
            DenseReshape(256),
            TConv(512, 4, 1),
            TConv(256, 4, 1),
            TConv(128, 4, 2),
            TConv(64, 4, 2),
        ),
        last_kernel=4,
    ),
    'cifar10': Architecture(  # Table 6
        size=32,
        latent_dim=128,
        encoder=(
            Conv(128, 4, 1),
            Conv(256, 4, 2),
            Conv(512, 4, 2),
            Conv(1024, 4, 2),
            Conv(1024, 4, 1),
        ),
        decoder=(
            DenseReshape(512),
            TConv(1024, 4, 1),
            TConv(512, 4, 1),
            TConv(256, 4, 2),
            TConv(128, 4, 2),
        ),
        last_kernel=4,
    ),
    'celeba': Architecture(  # Table 6
        size=64,
        latent_dim=128,
        encoder=(
            Conv(128, 5, 1),
            Conv(256, 5, 2),
            Conv(512, 5, 2),
            Conv(1024, 5, 2),
            Conv(1024, 5, 2),
        ),
        decoder=(
            DenseReshape(512),
            TConv(1024, 5, 1),
            TConv(512, 5, 1),
            TConv(256, 5, 2),
            TConv(128, 5, 2),
        ),
        last_kernel=5,
    ),
    'synthetic': Architecture(  # Table 5
        size=None,
        latent_dim=2,
        encoder=(Dense(128, 'relu'),),
        decoder=(),
        last_kernel=None,
        generator=(128,),
        critic=(128, 128),
        image_critic=(Dense(128, 'relu'), Dense(128, 'relu')),  # like its critic of codes
    ),
    # dair-iitd/FlexAE, FlexAESR.py; no batch norm after its first convolution.
    'released': Architecture(
        size=None,
        latent_dim=None,
        encoder=(
            Conv(64, 4, 2, 'relu', batch_norm=False),
            Conv(128, 4, 2, 'relu'),
            Dense(1024, 'relu', batch_norm=True),
        ),
        decoder=(
            Dense(1024, 'relu', batch_norm=True),
            DenseReshape(128, 'relu'),
            TConv(128, 4, 2, 'relu'),
            TConv(64, 4, 2, 'relu'),
        ),
        last_kernel=3,
        generator=(1024,) * 4,
        critic=(1024,) * 4,
    ),
}

CAPACITIES = {  # Table 8: hidden units of P-GEN
    1: (16, 16),
    2: (64, 64),
    3: (256, 256),
    4: (1024, 1024),
    5: (1024, 1024, 1024, 1024),
    6: (2048, 2048, 2048, 2048),
}

LATENT_DIMS = {'synthetic_5d': 50}  # m of Fig. 2, in place of the row's m of Fig. 3


def find_architecture(config: TrainConfig, shape: tuple[int, ...]) -> Architecture:
    """Returns the row for examples of a shape, with the P-GEN and width that `config` requests.

    Args:
        config: `dataset`, `network`, `generator_capacity` and `width_multiplier` are used.
        shape: (h, w, c) of an image or (d,) of a vector.

    Raises:
        UsageError: no row fits the shape; the message lists sizes that fit.
    """
    if config.dataset == CODES:  # `network` is the row of the examples that were encoded
        named = ARCHITECTURES[config.network]
        row = dataclasses.replace(
            ARCHITECTURES['synthetic'], generator=named.generator, critic=named.critic
        )
    else:
        row = ARCHITECTURES[architecture_name(config.network, shape)]
    if config.generator_capacity:
        row = dataclasses.replace(row, generator=CAPACITIES[config.generator_capacity])

    def scale(layers: tuple) -> tuple:
        return tuple(
            layer
            if isinstance(layer, Dense)
            else layer._replace(channels=max(1, round(layer.channels * config.width_multiplier)))
            for layer in layers
        )

    return dataclasses.replace(
        row,
        encoder=scale(row.encoder),
        decoder=scale(row.decoder),
        image_critic=scale(row.image_critic),
    )


def default_latent_dim(config: TrainConfig, shape: tuple[int, ...]) -> int:
    """Returns the paper's m for a data set.

    Args:
        config: `dataset` and `network` are used.
        shape: (h, w, c) of an image or (d,) of a vector.

    Raises:
        UsageError: no row fits the shape.
    """
    row = find_architecture(config, shape)
    if config.dataset in LATENT_DIMS:
        return LATENT_DIMS[config.dataset]
    return row.latent_dim or ARCHITECTURES[_nearest_row(shape[0])].latent_dim


def architecture_name(network: str, shape: tuple[int, ...]) -> str:
    """Returns the name of the row of `ARCHITECTURES` for examples of a shape.

    Args:
        network: name of a row, or 'auto' for the row with the nearest image size.
        shape: (h, w, c) of an image or (d,) of a vector.

    Raises:
        UsageError: unknown name, or the row does not fit the shape.
    """
    if network != 'auto' and network not in ARCHITECTURES:
        raise UsageError(
            f'--network={network}: unknown network. Choose one of auto, {", ".join(ARCHITECTURES)}.'
        )
    if len(shape) == 1:
        if network not in ('auto', 'synthetic'):
            raise UsageError(
                f'--network={network}: for images, not vectors. Use --network=synthetic.'
            )
        return 'synthetic'
    if network == 'synthetic':
        raise UsageError(
            '--network=synthetic: for vectors, not images. Use mnist, cifar10, celeba or released.'
        )
    height, width = shape[:2]
    if height != width:
        raise UsageError(
            f'--network={network}: images are {height} x {width}. Crop them to squares.'
        )
    name = _nearest_row(height) if network == 'auto' else network
    row = ARCHITECTURES[name]
    if height % row.stride:
        below = height // row.stride * row.stride
        sizes = ', '.join(str(s) for s in (below, below + row.stride) if s)
        raise UsageError(
            f'--network={network}: image size {height} is no multiple of {row.stride}. '
            f'Use a multiple of {row.stride} (the nearest: {sizes}).'
        )
    return name


def perceptron_parameters(*sizes: int) -> int:
    """Returns the number of weights and biases of dense layers.

    Args:
        sizes: size of the input and the number of units of each layer.
    """
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


def _nearest_row(height: int) -> str:
    """Returns the name of the row with the nearest image size, by ratio."""
    sizes = {name: row.size for name, row in ARCHITECTURES.items() if row.size}
    return min(sizes, key=lambda name: abs(math.log(height / sizes[name])))
