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

    checksum, layer, resize, has_logits, num_devices, calls = '0', 'sum', 'none', True, 1, 0

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


@pytest.mark.parametrize('num', [1, 9, 10, 11, 47])
def test_devices_share_blocks_that_are_stored_as_on_one_device(num, network, tmp_path, monkeypatch):
    monkeypatch.setattr('flexae_tf.evaluation.features.BLOCK', 10)
    x = np.random.default_rng(0).integers(0, 256, [num, 2, 2, 1]).astype(np.uint8)
    one = NetworkFeatures(network, tmp_path / 'one', batch_size=3)(x, label='x')
    folder, several = tmp_path / 'three', Sums()
    several.num_devices = 3
    for missing in (True, False):
        three = NetworkFeatures(several, folder, batch_size=3)(x, label='x')
        assert bool(several.calls) == missing
        several.calls = 0
        np.testing.assert_array_equal(three.rows, one.rows)
        np.testing.assert_array_equal(three.logits, one.logits)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / 'one').iterdir())
    for path in sorted(folder.iterdir())[::2]:
        path.unlink()
    three = NetworkFeatures(several, folder, batch_size=3)(x, label='x')
    np.testing.assert_array_equal(three.rows, one.rows)
    assert several.calls and sorted(path.name for path in folder.iterdir()) == names
