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
    from flexae_tf.evaluation.inception import Inception

# What is compared with the real examples: reconstructions, samples, training examples, other
# pictures (`--fake`); or the codes of the real examples with those of the prior.
KINDS = ('rec', 'gen', 'floor', 'fake', 'codes')
CODES = {
    True: 'codes',
    False: 'posterior_samples',
}  # of an encoder that is deterministic, or is not
FEATURES = ('pixels', 'vectors', 'inception', *CODES.values())
QUANTIZATIONS = ('uint8_round', 'none')
SELECTIONS = ('none', 'minimum_of_late', 'minimum_of_all')  # the others: by the test set
FRECHET = 'frechet_eigh_f64'  # the estimator of Frechet distances
TF1_BILINEAR = 'tf1_bilinear_299'  # the resize of FID


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything but the model that a score depends on.

    Attributes:
        dataset: a name of `config.DATASETS`.
        split: the real side: 'test', 'validation', 'train', or 'all' of somebody's pictures.
        num: how many there are on each side.
        crop: side of the centre crop before images are resized; None where there is none.
        data: `fingerprint` of the real side, where name and split do not fix it: of somebody's
            pictures, of training examples, which depend on how many are held out, and of CelebA.
        statistics: checksum of a file of mean and covariance from elsewhere, which stands for the
            real side; None where the real side is our own.
        features: 'pixels', 'vectors' (as they are), 'inception', 'codes' (of auto-encoders), or
            'posterior_samples' (draws of posteriors).
        layer: output of the network: 'pool_3', 'mixed_7', ...
        network: checksum of the network.
        resize: how images got to the size of the network: 'tf1_bilinear_299'.
        quantization: of what is judged: 'uint8_round' for images, 'none' for vectors, and for
            images as the authors score them.
        minmax_normalize: whether each fake was stretched to fill [0, 1], as the authors' scores were.
        estimator: how the score is computed from the features.
        selection: 'minimum_of_late' or 'minimum_of_all' (checkpoints) where this very score chose
            the checkpoint, on the examples it is scored on, as the authors' did.
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
    statistics: str | None = None
    features: str = 'pixels'
    layer: str | None = None
    network: str | None = None
    resize: str | None = None
    quantization: str = 'uint8_round'
    minmax_normalize: bool = False
    estimator: str = FRECHET
    selection: str = 'none'
    tfgan_network: bool = dataclasses.field(default=False, compare=False)

    def __post_init__(self) -> None:
        _choose('features', self.features, FEATURES)
        _choose('quantization', self.quantization, QUANTIZATIONS)
        _choose('selection', self.selection, SELECTIONS)
        if (self.data is None) == _needs_data(self.dataset, self.split):
            raise ValueError(
                f'data={self.data!r} with dataset={self.dataset!r} and split={self.split!r}'
            )
        for name in ('layer', 'network', 'resize'):
            # A field that has no effect must not make another id.
            if (getattr(self, name) is None) == (self.features == 'inception'):
                raise ValueError(f'{name}={getattr(self, name)!r} with features={self.features!r}')
        if self.features == 'vectors' and self.quantization != 'none':
            raise ValueError(f'quantization={self.quantization!r} of vectors')
        if self.tfgan_network and self.features != 'inception':
            raise ValueError(f'tfgan_network with features={self.features!r}')

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, equal if and only if scores may be compared."""
        return hashlib.sha256(json.dumps(self.fields(), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """'standard' or 'authors', after what becomes of the fakes; 'custom' when neither."""
        if self.statistics or self.resize not in (None, TF1_BILINEAR):
            return 'custom'
        if self.selection != 'none' or (self.minmax_normalize and self.quantization == 'none'):
            return 'authors'
        as_they_are = ('vectors', *CODES.values())
        rounded = self.features in as_they_are or self.quantization == 'uint8_round'
        return 'standard' if rounded and not self.minmax_normalize else 'custom'

    def fields(self) -> dict[str, str | int | bool | None]:
        """What the id is made of."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.compare}

    def differences(self, other: Protocol) -> str:
        """The fields in which two protocols differ, for an error message; '' when comparable."""
        ours, theirs = self.fields(), other.fields()
        return ', '.join(f'{k}={ours[k]} and {theirs[k]}' for k in ours if ours[k] != theirs[k])

    def name(self, kind: str, stem: str = 'fd') -> str:
        """Name of a score: `fid10k_gen`, `fd_mixed_7_10k_gen`, `prd_recall_pixels_10k_rec`, ...

        Only pool_3 of TF-GAN's own network gives an FID, or a KID. What was measured against
        statistics from elsewhere, or chosen by the score itself, says so at its end.

        Args:
            kind: one of `KINDS`.
            stem: what is measured: 'fd' (Frechet), 'kd' (kernel distance), 'density', ...

        Raises:
            ValueError: another kind.
        """
        _choose('kind', kind, KINDS)
        if self.tfgan_network and self.layer == 'pool_3':
            short = {'fd': 'fid', 'kd': 'kid', 'fd_infinity': 'fid_infinity'}
            name = f'{short.get(stem, stem)}{_count(self.num)}_{kind}'
        else:
            name = f'{stem}_{self._space()}{_count(self.num)}_{kind}'
        name += '_foreign' if self.statistics else ''
        return name + ('_min' if self.selection != 'none' else '')

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

    def real_side(self) -> Protocol:
        """What of this the real side's mean and covariance depend on; the rest at its default.

        The other side's images may be finished otherwise: the real ones are always uint8.
        """
        quantization = 'none' if self.features == 'vectors' else 'uint8_round'
        return dataclasses.replace(
            self,
            quantization=quantization,
            minmax_normalize=False,
            estimator=FRECHET,
            selection='none',
        )

    def against_foreign(self, statistics: str) -> Protocol:
        """The same, but against a file of statistics from elsewhere: whose, nobody here knows."""
        return dataclasses.replace(
            self, statistics=statistics, dataset='foreign', split='foreign', crop=None, data=None
        )

    def _space(self) -> str:
        if self.features in CODES.values():
            return ''
        return f'{self.layer or self.features}_'


def raw_protocol(config: TrainConfig, spec: DatasetSpec, *, split: str, x: np.ndarray) -> Protocol:
    """The protocol of scores from the examples `x` [n, ...] of `split` as they are, on pixels."""
    return Protocol(
        dataset=config.dataset,
        split=split,
        num=len(x),
        crop=config.celeba_crop if config.dataset == 'celeba' else None,
        data=fingerprint(x) if _needs_data(config.dataset, split) else None,
        features='pixels' if spec.kind == 'images' else 'vectors',
        quantization='uint8_round' if spec.kind == 'images' else 'none',
    )


def _needs_data(dataset: str, split: str) -> bool:
    """Whether other examples may go by the same name.

    CelebA's do: its files and tensorflow-datasets have the pictures in another order.
    """
    return dataset in ('folder', 'celeba') or split == 'train'


def _choose(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{field}={value!r}: choose one of {", ".join(choices)}')


def _count(num: int) -> str:
    return f'{num // 1000}k' if num >= 10_000 and num % 1000 == 0 else str(num)
