"""What the rest of the program knows of data: `DatasetSpec`, `Split`, `Dataset`."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What a data set is.

    Attributes:
        name: a name of `config.DATASETS`.
        kind: 'images' or 'vectors'.
        shape: of one example: (h, w, c) or (d,).
        train_size: examples in the source's training split, before validation is held out of it;
            None where only loading tells.
        test_size: examples in the test split, or None likewise.
        value_range: smallest and largest value as networks see them.
        num_classes: labels are 0 .. num_classes - 1; None without labels.
        attributes: names of the binary attributes.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    train_size: int | None
    test_size: int | None
    value_range: tuple[float, float]
    num_classes: int | None = None
    attributes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples in memory; row i of every array is example i.

    Attributes:
        x: uint8 [n, h, w, c] images, or float32 [n, d] vectors.
        labels: int64 [n] classes or mixture components.
        attributes: bool [n, a].
        latents: float32 [n, k], the true latents of a synthetic set.
    """

    x: np.ndarray
    labels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    latents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: np.ndarray) -> Split:
        """The rows `indices`, in that order, copied."""
        arrays = (self.x, self.labels, self.attributes, self.latents)
        return Split(*(None if array is None else array[indices] for array in arrays))


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set cut into its three parts, none of which shares an example with another."""

    spec: DatasetSpec
    train: Split
    validation: Split
    test: Split


def fixed_order(num: int, *, index: int) -> np.ndarray:
    """A random order of 0 .. num - 1, int32 [num], the same in every run.

    `index` 0 holds validation out of the training examples, 1 holds the test out of everything, 2
    chooses the test examples that are scored, 3 the images that are shown.
    """
    import tensorflow as tf

    from flexae_tf import noise

    with tf.device('CPU'):
        return noise.permutation(noise.key(0, 0, noise.Role.SPLIT, index), num).numpy()


def hold_out_test(split: Split, num: int) -> tuple[Split, Split]:
    """(training, test): for data without a test split of their own, `num` fixed random examples."""
    order = fixed_order(len(split), index=1)
    return split.take(order[num:]), split.take(order[:num])


def share_for_test(available: int) -> int:
    """How many of `available` examples are the test, where nothing else says so."""
    return max(2, available // 10)


def fingerprint(array: np.ndarray) -> str:
    """Twelve hexadecimal digits that tell one array from another: type, shape and contents."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f'{array.dtype.str} {array.shape} '.encode())
    digest.update(array.data)
    return digest.hexdigest()[:12]
