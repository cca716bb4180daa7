"""Sources of networks: a path, the cache, Kaggle, the hub."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import types

import pytest

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import network_files, tfgan
from flexae_tf.evaluation.feature_network import FeatureNetwork
from tests.conftest import ROOT
from tests.evaluation.networks import frozen_inception


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv('TFHUB_CACHE_DIR', raising=False)
    return tmp_path / 'cache'


@pytest.fixture
def downloads(monkeypatch):
    """`downloads(kaggle, hub)`: these packages are installed, and download a path or fail."""
    asked = []

    def install(kaggle=None, hub=None):
        for name, function, result in [
            ('kagglehub', 'model_download', kaggle),
            ('tensorflow_hub', 'resolve', hub),
        ]:

            def download(handle, result=result):
                asked.append(handle)
                if isinstance(result, Exception):
                    raise result
                return result

            module = types.SimpleNamespace(**{function: download}) if result else None
            monkeypatch.setitem(sys.modules, name, module)
        return asked

    return install


def refusal(cache):
    with pytest.raises(MissingDataError) as error:
        network_files.default(cache)
    assert '\n' not in str(error.value)
    return str(error.value)


# Without --inception_path


def test_default_comes_from_the_cache_first(tiny, cache, downloads):
    asked = downloads(kaggle='/kaggle', hub='/hub')
    hub = cache / 'tfhub' / hashlib.sha1(tfgan.HANDLE.encode()).hexdigest()
    shutil.copytree(tiny, hub)
    assert network_files.default(cache).path == hub
    graph = cache / 'classify_image_graph_def.pb'
    graph.write_bytes(frozen_inception().SerializeToString())
    assert network_files.default(cache).path == graph
    shutil.make_archive(str(cache / 'net'), 'gztar', tiny)
    (cache / 'net.tar.gz').rename(cache / 'inception-2015-12-05.tgz')
    assert network_files.default(cache).path.parent == cache / 'networks'
    assert asked == []


def test_default_comes_from_another_cache_of_the_hub(tiny, cache, downloads, monkeypatch, tmp_path):
    downloads()
    monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path / 'hub'))
    hub = tmp_path / 'hub' / hashlib.sha1(tfgan.HANDLE.encode()).hexdigest()
    shutil.copytree(tiny, hub)
    assert network_files.default(cache).path == hub


def test_default_comes_from_kaggle_then_from_the_hub(tiny, cache, downloads):
    asked = downloads(kaggle=tiny, hub=tiny)
    assert network_files.default(cache).source == tiny
    assert asked == [network_files.KAGGLE_HANDLE]
    asked.clear()
    downloads(kaggle=OSError('403 Forbidden'), hub=tiny)
    assert network_files.default(cache).source == tiny
    assert asked == [network_files.KAGGLE_HANDLE, tfgan.HANDLE]
    asked.clear()
    downloads(kaggle=None, hub=tiny)
    assert network_files.default(cache).source == tiny
    assert asked == [tfgan.HANDLE]
    # Not in /tmp, where cleaners remove single files.
    assert os.environ.pop('TFHUB_CACHE_DIR') == str(cache / 'tfhub')


def test_default_that_is_nowhere_names_one_command(cache, downloads):
    downloads(kaggle=OSError('403\nForbidden'), hub=None)
    message = refusal(cache)
    assert 'kagglehub: OSError: 403 Forbidden; tensorflow_hub: ModuleNotFoundError' in message
    assert message.endswith(network_files.download_command(cache))


def test_download_command_puts_the_network_into_the_cache(cache, downloads, tmp_path, monkeypatch):
    """The command runs, with the archive at a local URL."""
    downloads()
    graph = tmp_path / 'inception' / 'classify_image_graph_def.pb'
    graph.parent.mkdir()
    graph.write_bytes(frozen_inception().SerializeToString())
    shutil.make_archive(str(tmp_path / 'net'), 'gztar', graph.parent)
    monkeypatch.setattr(network_files, 'URL', (tmp_path / 'net.tar.gz').as_uri())
    monkeypatch.setattr(network_files, 'INCEPTION_2015', network_files.git_blob_id(graph))
    cache = cache / "with space and 'quote'"
    command = refusal(cache).partition('Run: ')[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert network_files.default(cache).is_inception_2015
    assert FeatureNetwork(None, None, 2, cache=cache).is_tfgan


def test_download_command_is_documented():
    text = (ROOT / 'flexae_tf/evaluation/PROTOCOLS.md').read_text()
    command = network_files.download_command(pathlib.Path('/CACHE'))
    assert command.replace('/CACHE', '~/.cache/flexae_tf') in text.splitlines()


@pytest.mark.parametrize('name', ['inception-2015-12-05.tgz', 'classify_image_graph_def.pb'])
def test_default_that_is_corrupt_names_the_command(cache, downloads, name):
    downloads()
    cache.mkdir()
    (cache / name).write_bytes(b'half')
    with pytest.raises(MissingDataError) as error:
        FeatureNetwork(None, None, 2, cache=cache)
    assert str(error.value).endswith(network_files.download_command(cache))
    assert str(cache / name) in str(error.value)


# Packages


def test_network_from_a_path_needs_no_further_packages(tiny, tmp_path):
    """With setuptools 82 tensorflow-hub cannot be imported."""
    code = """
import sys
for name in ('pkg_resources', 'kagglehub', 'tensorflow_hub', 'tensorflow_gan',
             'tensorflow_probability'):
    sys.modules[name] = None
import numpy as np, pathlib
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import evaluate, network_files
from flexae_tf.evaluation.feature_network import FeatureNetwork
cache = pathlib.Path(sys.argv[2])
for path in sys.argv[1], sys.argv[3]:
    network = FeatureNetwork(path, 'pool_3', 2, cache=cache)
    network.verify()
    print(network.features(np.zeros([3, 28, 28, 1], np.uint8)).shape)
try:
    network_files.default(cache)
except MissingDataError as error:
    print(error)
"""
    graph = tmp_path / 'classify_image_graph_def.pb'
    graph.write_bytes(frozen_inception().SerializeToString())
    arguments = [tiny, str(tmp_path / 'cache'), str(graph)]
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != 'TFHUB_CACHE_DIR'},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert '(3, 6)' in lines and '(3, 5)' in lines
    assert lines[-1].startswith('--inception_path: not set') and 'Run: curl' in lines[-1]


# Folders


def test_folder_with_several_networks_is_refused(tiny, tmp_path):
    for name in ('a', 'b'):
        shutil.copytree(tiny, tmp_path / name)
    with pytest.raises(MissingDataError, match='several networks: a/saved_model.pb, b/saved_model'):
        network_files.from_path(str(tmp_path), tmp_path / 'cache')
    shutil.rmtree(tmp_path / 'b')
    found = network_files.from_path(str(tmp_path), tmp_path / 'cache')
    assert found.path == tmp_path / 'a'
    assert found.checksum == network_files.saved_model_checksum(pathlib.Path(tiny))
