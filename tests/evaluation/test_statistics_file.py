"""Statistics files from elsewhere."""

import json
import os
import zipfile

import numpy as np
import pytest

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation.statistics_file import read_statistics, save_statistics
from flexae_tf.metrics.frechet import moments
from flexae_tf.metrics.protocol import Protocol

MEAN, COVARIANCE = np.zeros(3), np.eye(3)
FIELDS = dict(dataset='mnist', split='test', num=9)


def write(folder, **arrays):
    path = folder / 'real.npz'
    np.savez(path, **{'mu': MEAN, 'sigma': COVARIANCE, **arrays})
    return path


def test_read_statistics_returns_what_was_saved(tmp_path):
    found = moments(np.random.default_rng(0).random([9, 3]))
    save_statistics(tmp_path / 'real.npz', found, Protocol(**FIELDS))
    read = read_statistics(tmp_path / 'real.npz', allow_unverified=False)
    np.testing.assert_array_equal(read.moments.mean, found.mean)
    np.testing.assert_array_equal(read.moments.covariance, found.covariance)
    assert read.moments.num == 9 and read.protocol == Protocol(**FIELDS)


def test_read_statistics_notices_changes(tmp_path):
    path = tmp_path / 'real.npz'
    save_statistics(path, moments(np.random.default_rng(0).random([9, 3])), Protocol(**FIELDS))
    with np.load(path) as loaded:
        arrays = dict(loaded)
    assert len(str(arrays['checksum'])) == 16
    np.savez(path, **{**arrays, 'sigma': 2 * arrays['sigma']})
    with pytest.raises(MissingDataError, match='was changed since it was written'):
        read_statistics(path, allow_unverified=False)
    del arrays['checksum']  # as earlier versions wrote
    np.savez(path, **arrays)
    assert read_statistics(path, allow_unverified=False).protocol == Protocol(**FIELDS)


@pytest.mark.parametrize('dtype', ['<f4', '>f8', '>i4'])
def test_read_statistics_accepts_files_of_other_programs(tmp_path, dtype):
    path = write(tmp_path, mu=MEAN.astype(dtype), sigma=np.asfortranarray(COVARIANCE.astype(dtype)))
    read = read_statistics(path, allow_unverified=True)
    assert read.moments.covariance.dtype == np.float64 and read.moments.num == 4
    np.testing.assert_array_equal(read.moments.covariance, COVARIANCE)


@pytest.mark.parametrize(
    'arrays, words',
    [
        (dict(mu=np.zeros(0), sigma=np.zeros([0, 0])), 'do not fit'),
        (dict(mu=np.array(0.0), sigma=np.array(0.0)), 'do not fit'),
        (dict(mu=np.zeros(3, complex)), 'not real numbers'),
        (dict(sigma=np.eye(3, dtype='U1')), 'not real numbers'),
        (dict(sigma=np.diag([1.0, 1.0, np.inf])), 'not finite'),
        (dict(sigma=np.tri(3)), 'not a covariance'),
        (dict(sigma=-np.eye(3)), 'not a covariance'),
        (dict(n=-5), 'n is -5'),
        (dict(n=2.5), 'not a number of examples'),
        (dict(n=[9, 9]), 'not a number of examples'),
        (dict(n=9, protocol=3), 'not a text'),
        (dict(n=9, protocol='x' * 20_000), 'no number or text'),
        (dict(n=9, protocol='[' * 10_000), 'nested too deeply'),
        (dict(n=9, protocol='[]'), 'no JSON object'),
        (dict(n=9, protocol=json.dumps({**FIELDS, 'num': '9'})), "'num' is no int"),
        (dict(n=9, protocol=json.dumps({**FIELDS, 'layer': {}})), "'layer' is no str"),
        (dict(n=9, protocol=json.dumps({**FIELDS, 'more': 'x'})), "unknown key 'more'"),
        (dict(n=8, protocol=json.dumps(FIELDS)), 'n is 8, but 9'),
        (dict(mu=np.array([None, None, None])), 'not real numbers'),
    ],
)
def test_read_statistics_refuses_invalid_contents(tmp_path, arrays, words):
    path = write(tmp_path, **arrays)
    with pytest.raises(MissingDataError) as error:
        read_statistics(path, allow_unverified=True)
    message = str(error.value)
    assert message.startswith(f'--reference_statistics={path}: ') and words in message
    assert len(message) < 600 and '\n' not in message


def test_read_statistics_refuses_bombs_and_pipes(tmp_path):
    path = write(tmp_path, mu=np.zeros(4000), sigma=np.zeros(1))
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, array in dict(mu=np.zeros(4000), sigma=np.zeros([4000, 4000])).items():
            with archive.open(f'{name}.npy', 'w') as file:
                np.save(file, array)
    with pytest.raises(MissingDataError, match='bytes unpack to 128000000'):
        read_statistics(path, allow_unverified=True)
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(MissingDataError, match='not a regular file'):
        read_statistics(tmp_path / 'pipe', allow_unverified=True)
