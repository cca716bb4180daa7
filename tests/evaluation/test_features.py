"""Stored features: every change of a file is found, and the features are computed again."""

import shutil

import numpy as np
import pytest

from flexae_tf.checked_files import read_arrays
from flexae_tf.evaluation.feature_network import Outputs
from flexae_tf.evaluation.features import NetworkFeatures

IMAGES = np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1)


class Sums:
    """A network whose feature is the sum of the pixels; `calls` counts its calls."""

    checksum, layer, resize, has_logits, calls = '0', 'sum', 'none', True, 0

    def outputs(self, images):
        self.calls += 1
        sums = images.sum(axis=(1, 2, 3), dtype=np.float32)[:, None]
        return Outputs(sums, -sums)


@pytest.fixture
def network():
    return Sums()


@pytest.fixture
def compute(network, tmp_path):
    """`compute(images)`: their features, stored in a folder."""
    return lambda x: NetworkFeatures(network, tmp_path / 'features', batch_size=2)(x, label='x')


def test_changed_features_are_computed_again(compute, network, tmp_path, capsys):
    compute(IMAGES)
    (path,) = (tmp_path / 'features').iterdir()
    content, warnings, harmless = path.read_bytes(), 0, 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        network.calls = 0
        features = compute(IMAGES)
        assert features.rows.tolist() == [[1.0], [5.0]]
        assert features.logits.tolist() == [[-1.0], [-5.0]]
        warnings += network.calls
        harmless += not network.calls
        assert ('WARNING: ' + str(path) in capsys.readouterr().out) == bool(network.calls)
    assert warnings > 2 * harmless  # of zip, such as times


def test_features_of_other_images_are_computed_again(compute, network, tmp_path, capsys):
    compute(IMAGES)
    (first,) = (tmp_path / 'features').iterdir()
    assert compute(IMAGES + 1).rows.tolist() == [[3.0], [7.0]]
    (second,) = {*(tmp_path / 'features').iterdir()} - {first}
    shutil.copy(first, second)
    assert compute(IMAGES + 1).rows.tolist() == [[3.0], [7.0]]
    assert f'{second}: holds features of other images' in capsys.readouterr().out
    np.savez(first, **{name: read_arrays(first)[name] for name in ('rows', 'logits')})
    network.calls = 0
    assert compute(IMAGES).rows.tolist() == [[1.0], [5.0]] and not network.calls  # earlier version
