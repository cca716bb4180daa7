"""What a score means: two scores may be compared if, and only if, their protocols have one id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from flexae_tf.data import fingerprint

if TYPE_CHECKING:  # what a score means must not need TensorFlow
    from flexae_tf.config import TrainConfig
    from flexae_tf.data import DatasetSpec
    from flexae_tf.metrics.inception import Inception

KINDS = ('rec', 'gen', 'floor')  # reconstructions, samples, training data: each against the split
FEATURES = ('pixels', 'inception')
QUANTISATIONS = ('uint8_round', 'none')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything but the model that a Frechet distance depends on.

    Attributes:
        dataset: a name of `config.DATASETS`.
        split: the real side: 'test', 'validation', ...
        num: how many there are on each side.
        crop: side of the centre crop before images are resized; None where there is none.
        data: `fingerprint` of the real side, where the name of the data set does not fix it
            (`dataset='folder'`).
        features: 'pixels' (of images, or vectors as they are) or 'inception'.
        layer: output of the network: 'pool_3', 'mixed_7', ...
        network: checksum of the network.
        resize: how images got to the size of the network: 'tf1_bilinear_299'.
        quantisation: 'uint8_round' for images, 'none' for vectors.
        stretch: whether each fake was stretched to fill [0, 1], as the authors' scores were.
        estimator: how the distance is computed.
        tfgan_network: whether the network came from TF-GAN itself. It decides the name, not the id:
            what a network computes is told by its checksum.

    Raises:
        ValueError: a value that is not one of the choices, or fields that contradict each other.
    """

    dataset: str
    split: str
    num: int
    crop: int | None = None
    data: str | None = None
    features: str = 'pixels'
    layer: str | None = None
    network: str | None = None
    resize: str | None = None
    quantisation: str = 'uint8_round'
    stretch: bool = False
    estimator: str = 'frechet_eigh_f64'
    tfgan_network: bool = dataclasses.field(default=False, compare=False)

    def __post_init__(self) -> None:
        _choose('features', self.features, FEATURES)
        _choose('quantisation', self.quantisation, QUANTISATIONS)
        if (self.data is None) == (self.dataset == 'folder'):
            raise ValueError(f'data={self.data!r} with dataset={self.dataset!r}')
        for name in ('layer', 'network', 'resize'):
            # A field that has no effect must not make another id.
            if (getattr(self, name) is None) == (self.features == 'inception'):
                raise ValueError(f'{name}={getattr(self, name)!r} with features={self.features!r}')
        if self.features == 'inception' and self.quantisation == 'none':
            raise ValueError("quantisation='none' with features='inception'")
        if self.tfgan_network and self.features != 'inception':
            raise ValueError(f'tfgan_network with features={self.features!r}')

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, equal if and only if scores may be compared."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.compare}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def name(self, kind: str) -> str:
        """Name of a score: `fid10k_gen`, `fd_mixed_7_10k_gen`, `fd_pixels_10k_rec`, ...

        Only pool_3 of TF-GAN's own network gives an FID.

        Args:
            kind: one of `KINDS`.

        Raises:
            ValueError: another kind.
        """
        _choose('kind', kind, KINDS)
        return f'{self._distance()}{_count(self.num)}_{kind}'

    def on_network(self, network: Inception) -> Protocol:
        """The same examples, compared by the features of a network."""
        return dataclasses.replace(
            self,
            features='inception',
            layer=network.layer,
            network=network.checksum,
            resize=network.resize,
            tfgan_network=network.is_tfgan,
        )

    def _distance(self) -> str:
        if self.tfgan_network and self.layer == 'pool_3':
            return 'fid'
        if self.features == 'inception':
            return f'fd_{self.layer}_'
        return 'fd_vectors_' if self.quantisation == 'none' else 'fd_pixels_'


def raw_protocol(config: TrainConfig, spec: DatasetSpec, *, split: str, x: np.ndarray) -> Protocol:
    """The protocol of scores from the examples `x` [n, ...] of `split` as they are, on pixels."""
    return Protocol(
        dataset=config.dataset,
        split=split,
        num=len(x),
        crop=config.celeba_crop if config.dataset == 'celeba' else None,
        data=fingerprint(x) if config.dataset == 'folder' else None,
        quantisation='uint8_round' if spec.kind == 'images' else 'none',
    )


def _choose(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{field}={value!r}: choose one of {", ".join(choices)}')


def _count(num: int) -> str:
    return f'{num // 1000}k' if num >= 10_000 and num % 1000 == 0 else str(num)
