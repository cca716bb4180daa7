import json
import pathlib
import shutil
import sys

import pytest
import tensorflow as tf

from flexae_tf.config import DoctorConfig
from flexae_tf.data.catalog import DATASETS
from flexae_tf.doctor import doctor
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import network_files, verification
from tests.conftest import ROOT


class Network(tf.Module):
    """A network with the interface of TF-GAN's Inception network."""

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def __call__(self, images):
        features = tf.reduce_mean(images, axis=2)[:, :, 0]
        return {'pool_3': features, 'logits': features}


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp('networks') / 'network'
    tf.saved_model.save(Network(), str(folder))
    return str(folder)


@pytest.fixture
def lines(network, tmp_path, monkeypatch, capsys):
    """`lines(**options)`: the output of the program on a machine without downloaded data."""

    def run(**options):
        monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path / 'hub'))
        folders = dict(data_dir=str(tmp_path / 'data'), cache_dir=str(tmp_path / 'cache'))
        doctor(DoctorConfig(**folders, **options))
        return dict(line.split(': ', 1) for line in capsys.readouterr().out.splitlines())

    return run


def test_doctor_reports_versions_device_data_and_network(lines, network):
    found = lines(inception_path=network)
    assert found['device'].startswith('CPU')
    assert found['tensorflow'] == tf.__version__
    assert found['matrix product'] == 'correct'
    assert {f'data set {name}' for name in DATASETS} <= found.keys()
    assert found['data set digits'] == '1294 training and 360 test examples'
    assert found['data set mnist'].startswith('not available. ')
    assert network in found['Inception network']
    assert found['Inception network'].endswith('Features are correct.')


def test_doctor_says_where_to_get_the_network(lines, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'kagglehub', None)
    monkeypatch.setitem(sys.modules, 'tensorflow_hub', None)
    state = lines()['Inception network']
    command = network_files.download_command(tmp_path / 'cache')
    assert state.startswith('not available. --inception_path: not set') and state.endswith(command)


def test_doctor_prints_the_golden_record(lines, network, tmp_path, monkeypatch):
    found = lines(inception_path=network, verify_inception=True)
    (name,) = [name for name in found if name.startswith('golden record')]
    record = json.loads(found[name])
    assert record['is_tfgan'] is False and record['features'].keys() == {'pool_3', 'logits'}
    place = pathlib.Path(name.removeprefix('golden record, for '))
    assert place.parent == pathlib.Path('flexae_tf/evaluation/golden')
    assert (ROOT / place.parent).samefile(verification.CHECKED_IN)
    golden = tmp_path / 'golden'
    shutil.copytree(verification.CHECKED_IN, golden)
    (golden / place.name).write_text(found[name].replace('"is_tfgan": false', '"is_tfgan": true'))
    monkeypatch.setattr(verification, 'CHECKED_IN', golden)
    assert ' identified as the Inception' in lines(inception_path=network)['Inception network']


def test_doctor_checks_another_feature_network(lines, network):
    declaration = dict(name='tiny', image_size=299, value_range=[0, 1], resize='tf1_bilinear')
    path = pathlib.Path(network, 'feature_network.json')
    path.write_text(json.dumps(declaration | {'layer': 'logits'}))
    try:
        state = lines(feature_network=network)['feature network']
    finally:
        path.unlink()
    assert 'fd_tiny_logits_' in state and state.endswith('Features are correct.')
    with pytest.raises(UsageError, match='two networks'):
        lines(feature_network=network, inception_path=network)


def test_doctor_fails_without_the_network_given_to_it(lines, tmp_path):
    with pytest.raises(MissingDataError, match='nothing'):
        lines(inception_path=str(tmp_path / 'nothing'))
