import pytest
import tensorflow as tf

from flexae_tf.config import DoctorConfig
from flexae_tf.data.catalog import DATASETS
from flexae_tf.doctor import doctor
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation.feature_network import tfgan_eval


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


def test_doctor_reports_a_missing_network(lines, monkeypatch):
    def fail(_):
        raise OSError('no connection')

    monkeypatch.setattr('tensorflow_hub.resolve', fail)
    state = lines()['Inception network']
    assert state.startswith('not available. ') and tfgan_eval().INCEPTION_TFHUB in state


def test_doctor_fails_without_the_network_given_to_it(lines, tmp_path):
    with pytest.raises(MissingDataError, match='nothing'):
        lines(inception_path=str(tmp_path / 'nothing'))
