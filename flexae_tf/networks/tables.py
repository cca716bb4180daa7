"""Tables 5-8 of the paper as plain data, and the choice of a row for a data set.

Layers are written as the paper writes them: Conv_{channels, kernel, stride}, TCONV, FC. Hidden
convolutions, and the decoder's first FC on images, are followed by batch norm and ELU; 'same'
padding is the only one that makes the decoder's sizes come out.
"""

import dataclasses
import math
from typing import NamedTuple

from flexae_tf.config import CODES, TrainConfig
from flexae_tf.errors import UsageError


class Conv(NamedTuple):
    """Conv_{channels, kernel, stride} -> BN -> ELU."""

    channels: int
    kernel: int
    stride: int


class TConv(NamedTuple):
    """TCONV_{channels, kernel, stride} -> BN -> ELU."""

    channels: int
    kernel: int
    stride: int


class Dense(NamedTuple):
    """FC_units -> activation, no batch norm (Table 5)."""

    units: int
    activation: str


@dataclasses.dataclass(frozen=True)
class Row:
    """Encoder and decoder of one data set.

    Attributes:
        size: height and width the row was written for; None for vectors.
        latent_dim: the paper's m.
        encoder: hidden layers; a Flatten and FC_m follow.
        base_channels: channels of the decoder's first, reshaped FC; None for vectors.
        decoder: hidden layers after it.
        last_kernel: kernel of the decoder's last convolution (sigmoid); None for vectors, whose
            decoder ends in FC_d -> tanh.
        generator: hidden units of P-GEN (ReLU each); FC_m follows.
        critic: hidden units of the critic (ReLU each); FC_1 follows.
    """

    size: int | None
    latent_dim: int
    encoder: tuple[Conv | Dense, ...]
    base_channels: int | None
    decoder: tuple[TConv, ...]
    last_kernel: int | None
    generator: tuple[int, ...] = (1024, 512)  # Table 7
    critic: tuple[int, ...] = (512, 256, 128, 128)  # Table 7

    @property
    def encoder_stride(self) -> int:
        """How many times smaller the encoder makes an image."""
        return math.prod(layer.stride for layer in self.encoder)

    @property
    def decoder_stride(self) -> int:
        """How many times larger the decoder makes its first feature map."""
        return math.prod(layer.stride for layer in self.decoder)

    @property
    def stride(self) -> int:
        """Image sizes that are multiples of this fit the row."""
        return math.lcm(self.encoder_stride, self.decoder_stride)


ROWS = {
    'mnist': Row(  # Table 6
        size=28,
        latent_dim=32,
        encoder=(
            Conv(64, 4, 1),
            Conv(128, 4, 1),
            Conv(256, 4, 2),
            Conv(512, 4, 2),
            Conv(512, 4, 1),
        ),
        base_channels=256,
        decoder=(TConv(512, 4, 1), TConv(256, 4, 1), TConv(128, 4, 2), TConv(64, 4, 2)),
        last_kernel=4,
    ),
    'cifar10': Row(  # Table 6
        size=32,
        latent_dim=128,
        encoder=(
            Conv(128, 4, 1),
            Conv(256, 4, 2),
            Conv(512, 4, 2),
            Conv(1024, 4, 2),
            Conv(1024, 4, 1),
        ),
        base_channels=512,
        decoder=(TConv(1024, 4, 1), TConv(512, 4, 1), TConv(256, 4, 2), TConv(128, 4, 2)),
        last_kernel=4,
    ),
    'celeba': Row(  # Table 6
        size=64,
        latent_dim=128,
        encoder=(
            Conv(128, 5, 1),
            Conv(256, 5, 2),
            Conv(512, 5, 2),
            Conv(1024, 5, 2),
            Conv(1024, 5, 2),
        ),
        base_channels=512,
        decoder=(TConv(1024, 5, 1), TConv(512, 5, 1), TConv(256, 5, 2), TConv(128, 5, 2)),
        last_kernel=5,
    ),
    'synthetic': Row(  # Table 5
        size=None,
        latent_dim=2,
        encoder=(Dense(128, 'relu'),),
        base_channels=None,
        decoder=(),
        last_kernel=None,
        generator=(128,),
        critic=(128, 128),
    ),
}

CAPACITIES = {  # Table 8: hidden units of P-GEN
    'capacity_1': (16, 16),
    'capacity_2': (64, 64),
    'capacity_3': (256, 256),
    'capacity_4': (1024, 1024),
    'capacity_5': (1024, 1024, 1024, 1024),
    'capacity_6': (2048, 2048, 2048, 2048),
}

SYNTHETIC_5D_LATENT_DIM = 50  # Fig. 2's m; Fig. 3 has the row's own 2


def choose_row(config: TrainConfig, shape: tuple[int, ...]) -> Row:
    """The row of Tables 5-6 for examples of `shape`, with the P-GEN and width `config` asks for.

    Args:
        config: its `network`, `generator` and `width_multiplier` are used.
        shape: (h, w, c) of an image or (d,) of a vector.

    Raises:
        UsageError: no row fits the shape; the message names the sizes that do.
    """
    if config.dataset == CODES:  # of examples of another shape, whose row `network` names
        named = ROWS[config.network]
        row = dataclasses.replace(ROWS['synthetic'], generator=named.generator, critic=named.critic)
    else:
        row = ROWS[row_name(config.network, shape)]
    if config.generator != 'default':
        row = dataclasses.replace(row, generator=CAPACITIES[config.generator])
    if row.size is None:
        return row

    def scale(channels: int) -> int:
        return max(1, round(channels * config.width_multiplier))

    return dataclasses.replace(
        row,
        encoder=tuple(layer._replace(channels=scale(layer.channels)) for layer in row.encoder),
        base_channels=scale(row.base_channels),
        decoder=tuple(layer._replace(channels=scale(layer.channels)) for layer in row.decoder),
    )


def resolve(config: TrainConfig, shape: tuple[int, ...]) -> TrainConfig:
    """`config` with the sizes filled in that depend on the data set: `latent_dim`, `noise_dim`."""
    row = choose_row(config, shape)
    default = SYNTHETIC_5D_LATENT_DIM if config.dataset == 'synthetic_5d' else row.latent_dim
    latent_dim = config.latent_dim or default
    return dataclasses.replace(
        config, latent_dim=latent_dim, noise_dim=config.noise_dim or latent_dim
    )


def row_name(network: str, shape: tuple[int, ...]) -> str:
    """The row of Tables 5-6 that `--network` means for examples of `shape`.

    Raises:
        UsageError: no row fits the shape.
    """
    if len(shape) == 1:
        if network not in ('auto', 'synthetic'):
            raise UsageError(f'--network={network} is for images; vectors need --network=synthetic')
        return 'synthetic'
    if network == 'synthetic':
        raise UsageError('--network=synthetic is for vectors; images need mnist, cifar10 or celeba')
    height, width = shape[:2]
    if height != width:
        raise UsageError(f'images are {height} x {width}: the networks need square ones; crop them')
    image_rows = {name: row for name, row in ROWS.items() if row.size}
    if network == 'auto':
        network = min(image_rows, key=lambda name: abs(math.log(height / ROWS[name].size)))
    row = image_rows[network]
    if height % row.stride:
        below = height // row.stride * row.stride
        sizes = ', '.join(str(s) for s in (below, below + row.stride) if s)
        raise UsageError(
            f'image size {height} does not fit the {network} networks: '
            f'take a multiple of {row.stride} (the nearest: {sizes})'
        )
    return network
