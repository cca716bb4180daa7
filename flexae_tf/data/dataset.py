"""Data sets in memory or on disk: `DatasetSpec`, `Split`, `Dataset`, and fixed random splits."""

from __future__ import annotations

import dataclasses
import enum
import hashlib

import numpy as np

from flexae_tf import shutdown
from flexae_tf.data.stored_rows import StoredRows

CODES = 'codes'  # the data set of a density: codes of a run's training examples
BLOCK = 256  # rows that a fingerprint reads at a time


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Description of a data set.

    Attributes:
        name: name of the data set.
        kind: 'images' or 'vectors'.
        shape: shape of one example, (h, w, c) or (d,).
        train_size: number of examples in the source's training split, before validation examples
            are held out; None if unknown until the data are loaded.
        test_size: number of examples in the test split; None if unknown until the data are loaded.
        value_range: smallest and largest value that networks receive.
        num_classes: labels are 0 .. num_classes - 1; None without labels.
        attributes: names of the binary attributes; empty without attributes.
        validation_size: number of examples in the source's own validation split; None without one,
            or if unknown until the data are loaded.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    train_size: int | None
    test_size: int | None
    value_range: tuple[float, float]
    num_classes: int | None = None
    attributes: tuple[str, ...] = ()
    validation_size: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples; row i of every array belongs to example i.

    Attributes:
        x: uint8 [n, h, w, c] images, in memory or on disk, or float32 [n, d] vectors.
        labels: int64 [n] classes or mixture components; None without labels.
        attributes: bool [n, a]; None without attributes.
        latents: float32 [n, k], the true latents of a synthetic data set; None for other data.
    """

    x: np.ndarray | StoredRows
    labels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    latents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: np.ndarray) -> Split:
        """Returns the rows `indices`, in that order: copies, but of images on disk a view."""
        x = self.x.take(indices) if isinstance(self.x, StoredRows) else self.x[indices]
        others = (self.labels, self.attributes, self.latents)
        return Split(x, *(None if array is None else array[indices] for array in others))


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three parts without common examples."""

    spec: DatasetSpec
    train: Split
    validation: Split
    test: Split


class Purpose(enum.IntEnum):
    """Uses of a fixed permutation. Numbers must not change: recorded scores depend on them."""

    VALIDATION = 0  # holds validation examples out of the training split
    TEST = 1  # holds a test split out of data without one
    EVALUATION = 2  # selects the test examples to score
    DISPLAY = 3  # selects the images to show


def fixed_permutation(num: int, purpose: Purpose) -> np.ndarray:
    """Returns a random permutation of 0 .. num - 1, int32 [num], that is the same in every run."""
    import tensorflow as tf

    from flexae_tf import noise

    with tf.device('CPU'):
        return noise.permutation(noise.key(0, 0, noise.Role.SPLIT, int(purpose)), num).numpy()


def hold_out_test(split: Split, num: int) -> tuple[Split, Split]:
    """Splits data without a test split into (training, test) with `num` fixed random test rows."""
    order = fixed_permutation(len(split), Purpose.TEST)
    return split.take(order[num:]), split.take(order[:num])


def default_test_size(available: int) -> int:
    """Returns the size of the test split that is held out of `available` examples."""
    return max(2, available // 10)


def fingerprint(array: np.ndarray | StoredRows) -> str:
    """Returns 12 hexadecimal digits of a hash of the type, shape and contents of an array."""
    digest = hashlib.sha256(f'{array.dtype.str} {array.shape} '.encode())
    for start in range(0, len(array), BLOCK):
        shutdown.check('while reading examples')
        digest.update(np.ascontiguousarray(array[start : start + BLOCK]).data)
    return digest.hexdigest()[:12]


def has_attribute(spec: DatasetSpec, split: Split, name: str) -> np.ndarray:
    """Returns which examples have an attribute, or a label if `name` is 'class K': bool [n]."""
    if name in spec.attributes:
        return split.attributes[:, spec.attributes.index(name)]
    return split.labels == int(name.removeprefix('class '))
