"""The protocol of a score: scores may be compared if and only if their protocols have equal ids."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data import DATASETS, DatasetSpec, fingerprint

# Suffix of a score's name for each set that is scored. 'train' are training examples and 'real'
# further real images next to `--fake`: scores of real examples, a practical lower bound (floor).
# 'latents' compares codes of real examples with codes of the prior.
SUFFIXES = {
    'reconstructions': 'rec',
    'samples': 'gen',
    'train': 'floor',
    'real': 'floor',
    'fake': 'fake',
    'latents': 'codes',
}
# Features of the set 'latents': codes of a deterministic encoder, or samples of posteriors.
CODES = {True: 'codes', False: 'posterior_samples'}
NETWORKS = ('inception', 'network')  # Inception or a network with its interface; a declared network
FEATURES = ('pixels', 'vectors', *NETWORKS, *CODES.values())
QUANTIZATIONS = ('uint8_round', 'none')
SELECTIONS = ('none', 'minimum_of_late', 'minimum_of_all')  # minima select on the test set
FRECHET = 'frechet_eigh_f64'  # estimator of Frechet distances
TF1_BILINEAR = 'tf1_bilinear_299'  # resize of the FID of the literature


def _later_field() -> Any:
    """Returns a field that enters the id only if it is set, so that recorded ids do not change."""
    return dataclasses.field(default=None, metadata={'later': True})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything except the model that a score depends on.

    Attributes:
        dataset: name of the data set.
        split: the real side: 'test', 'validation', 'train', or 'all' for images given by path.
        num: number of examples on each side.
        crop: side of the centre crop before images are resized; None without a crop.
        data: `fingerprint` of the real side where data set and split do not determine it: images
            given by path, training examples (they depend on the size of the validation set),
            CelebA, and data sets from outside the package.
        statistics: checksum of an unverified file of mean and covariance that replaces the real
            side; None if the real side is known.
        features: 'pixels', 'vectors' (unchanged), 'inception', 'network' (another network, with
            a declaration), 'codes' (deterministic encoders) or 'posterior_samples' (stochastic
            encoders).
        layer: output of the network: 'pool_3', 'mixed_7', ...
        network: checksum of the network.
        resize: method and size of the resize before the network: 'tf1_bilinear_299'.
        quantization: rounding of the scored images: 'uint8_round', or 'none' for vectors and for
            images as the authors score them.
        minmax_normalize: whether each scored image is stretched to fill [0, 1], as the authors do.
        estimator: computation of the score from the features.
        selection: 'minimum_of_late' or 'minimum_of_all' if the checkpoint was selected by this
            score, on the same examples, as the authors do; otherwise 'none'.
        tfgan_network: whether the network is proven to be the Inception graph of 2015. It affects
            names but not the id, since `network` identifies the network.
        network_name: name in the declaration of a network other than Inception; None for
            'inception'.
        decoder: decoder of the real images, if they come from image files; None for arrays and
            data sets that are not image files.
        resize_to: method and size of the resize of images from files to one size, which precedes
            every other treatment: 'centre_antialiased_64'. None if images keep their size.
        train: `fingerprint` of the training images, if both sides are compared with them.
        batch_norm: averages of batch norm that the scored model uses: 'recalibrated_N' if they were
            re-estimated from N training batches; None for the stored averages.

    Raises:
        ValueError: an invalid value, or fields that contradict each other.
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
    network_name: str | None = _later_field()
    decoder: str | None = _later_field()
    resize_to: str | None = _later_field()
    train: str | None = _later_field()
    batch_norm: str | None = _later_field()

    def __post_init__(self) -> None:
        _choose('features', self.features, FEATURES)
        _choose('quantization', self.quantization, QUANTIZATIONS)
        _choose('selection', self.selection, SELECTIONS)
        if not self.statistics and (self.data is None) == _needs_data(self.dataset, self.split):
            raise ValueError(
                f'data={self.data!r} with dataset={self.dataset!r} and split={self.split!r}'
            )
        for name in ('layer', 'network', 'resize'):
            # A field that has no effect must not change the id.
            if (getattr(self, name) is None) == (self.features in NETWORKS):
                raise ValueError(f'{name}={getattr(self, name)!r} with features={self.features!r}')
        if (self.network_name is None) == (self.features == 'network'):
            raise ValueError(f'network_name={self.network_name!r} with features={self.features!r}')
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
        """'standard' or 'authors' by the treatment of scored images; 'custom' if neither."""
        other_resize = self.features == 'inception' and self.resize != TF1_BILINEAR
        if self.statistics or self.resize_to or self.batch_norm or other_resize:
            return 'custom'
        if self.selection != 'none' or (self.minmax_normalize and self.quantization == 'none'):
            return 'authors'
        unchanged = ('vectors', *CODES.values())
        rounded = self.features in unchanged or self.quantization == 'uint8_round'
        return 'standard' if rounded and not self.minmax_normalize else 'custom'

    def fields(self) -> dict[str, str | int | bool | None]:
        """Returns the fields that the id is a hash of."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.compare and not (f.metadata.get('later') and getattr(self, f.name) is None)
        }

    def differences(self, other: Protocol) -> str:
        """Returns the fields that differ, for an error message; '' if scores may be compared."""
        ours, theirs = self.fields(), other.fields()
        pairs = {k: (ours.get(k), theirs.get(k)) for k in ours | theirs}
        return ', '.join(f'{k}={a} and {b}' for k, (a, b) in pairs.items() if a != b)

    def name(self, image_set: str, stem: str = 'fd') -> str:
        """Returns the name of a score: `fid10k_gen`, `prd_recall_pixels_10k_rec`, ...

        Only pool_3 of the Inception graph of 2015 gives an FID or a KID. Scores against unverified
        statistics end in `_unverified`, scores with re-estimated averages of batch norm in
        `_recalibrated`, scores that selected their checkpoint in `_min`.

        Args:
            image_set: a key of `SUFFIXES`.
            stem: stem of the score: 'fd' (Frechet distance), 'kd' (kernel distance), ...

        Raises:
            ValueError: unknown set.
        """
        _choose('set', image_set, tuple(SUFFIXES))
        suffix = SUFFIXES[image_set]
        if self.tfgan_network and self.layer == 'pool_3':
            short = {'fd': 'fid', 'kd': 'kid', 'fd_infinity': 'fid_infinity'}
            name = f'{short.get(stem, stem)}{_count(self.num)}_{suffix}'
        else:
            name = f'{stem}_{self._space()}{_count(self.num)}_{suffix}'
        name += '_unverified' if self.statistics else ''
        name += '_recalibrated' if self.batch_norm else ''
        return name + ('_min' if self.selection != 'none' else '')

    def real_side(self) -> Protocol:
        """Returns the part that mean and covariance of the real side depend on.

        All other fields have their defaults. Real images are always uint8, for every
        treatment of the scored images.
        """
        quantization = 'none' if self.features == 'vectors' else 'uint8_round'
        return dataclasses.replace(
            self,
            quantization=quantization,
            minmax_normalize=False,
            estimator=FRECHET,
            selection='none',
            batch_norm=None,
        )

    def against_unverified(self, statistics: str) -> Protocol:
        """Returns the protocol with a file of statistics of unknown provenance as the real side.

        Args:
            statistics: checksum of the file.
        """
        return dataclasses.replace(
            self,
            statistics=statistics,
            dataset='unverified',
            split='unverified',
            crop=None,
            data=None,
            decoder=None,
        )

    def raw(self) -> Protocol:
        """Returns the protocol of the same examples without a feature network."""
        features = 'pixels' if self.features in NETWORKS else self.features
        none = dict.fromkeys(('layer', 'network', 'network_name', 'resize'))
        return dataclasses.replace(self, features=features, tfgan_network=False, **none)

    def _space(self) -> str:
        if self.features in CODES.values():
            return ''
        space = self.layer or self.features
        return f'{self.network_name}_{space}_' if self.network_name else f'{space}_'


def raw_protocol(config: TrainConfig, spec: DatasetSpec, *, split: str, x: np.ndarray) -> Protocol:
    """Returns the protocol of scores on raw values: pixels or vectors.

    Args:
        config: configuration of the run.
        spec: data set of the run.
        split: split of the real examples.
        x: the real examples [n, ...].
    """
    return Protocol(
        dataset=config.dataset,
        split=split,
        num=len(x),
        crop=config.celeba_crop if config.dataset == 'celeba' else None,
        data=fingerprint(x) if _needs_data(config.dataset, split) else None,
        decoder=_decoder(config),
        features='pixels' if spec.kind == 'images' else 'vectors',
        quantization='uint8_round' if spec.kind == 'images' else 'none',
    )


def _decoder(config: TrainConfig) -> str | None:
    """Returns the decoder of the data set of a run, if it is read from image files."""
    from_folder = config.dataset == 'folder' and os.path.isdir(config.data_dir or '')
    if not from_folder and config.dataset != 'celeba':
        return None
    from flexae_tf.data.decoding import DECODER  # imports TensorFlow

    return DECODER


def _needs_data(dataset: str, split: str) -> bool:
    """Returns whether data set and split do not determine the examples."""
    source = DATASETS.get(dataset)
    return split == 'train' or source is None or not source.fixed_content


def _choose(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{field}={value!r}: choose one of {", ".join(choices)}')


def _count(num: int) -> str:
    return f'{num // 1000}k' if num >= 10_000 and num % 1000 == 0 else str(num)
