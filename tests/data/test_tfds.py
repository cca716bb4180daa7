import concurrent.futures
import contextlib
import http.server
import logging
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import tfds as tfds_source
from flexae_tf.errors import MissingDataError

REAL_DATA = Path(
    os.environ.get('FLEXAE_TF_DATA_DIR', Path(__file__).parents[3] / 'shared' / 'data' / 'tfds')
)


def examples(num, shape, **extra):
    """Yields images of constant value 3 * i with the label i % 10."""
    for i in range(num):
        yield {'image': np.full(shape, 3 * i, np.uint8), 'label': i % 10, **extra}


@pytest.mark.parametrize(
    'name, shape, extra',
    [('fashion_mnist', (28, 28, 1), {}), ('cifar10', (32, 32, 3), {'id': ''})],
)
def test_load_splits_a_prepared_data_set(serve, tmp_path, name, shape, extra):
    serve(name, train=examples(60, shape, **extra), test=examples(12, shape, **extra))
    options = dict(dataset=name, data_dir=str(tmp_path), batch_size=8)
    dataset = data.load(TrainConfig(**options, download=True))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54, 6, 12)
    assert dataset.spec.shape == shape and dataset.spec.train_size == 60
    seen = []
    for split in (dataset.train, dataset.validation):
        assert split.x.shape == (len(split), *shape) and split.x.dtype == np.uint8
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.x[:, 5, 7, -1] // 3 % 10, split.labels)
        seen.extend(split.x[:, 0, 0, 0] // 3)
    assert sorted(seen) == list(range(60))
    again = data.load(TrainConfig(**options, download=False))
    np.testing.assert_array_equal(again.train.x, dataset.train.x)


@pytest.mark.parametrize('name', ['mnist', 'fashion_mnist', 'cifar10'])
def test_load_refuses_missing_data(tmp_path, name):
    with pytest.raises(MissingDataError) as caught:
        data.load(TrainConfig(dataset=name, data_dir=str(tmp_path)))
    message = str(caught.value)
    assert caught.value.exit_code == 3 and '\n' not in message
    assert name in message and str(tmp_path) in message
    assert '--download' in message and '--data_dir' in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('error', [ConnectionError('no route\nto host'), ValueError('checksum')])
def test_load_reports_a_failed_download(monkeypatch, tmp_path, caplog, error):
    def fail(self):
        logging.getLogger('urllib3.connectionpool').warning('Retrying')
        raise error

    monkeypatch.setattr(tfds.builder_cls('mnist'), 'url_infos', {})
    monkeypatch.setattr(tfds.builder_cls('mnist'), 'download_and_prepare', fail)
    with pytest.raises(MissingDataError, match='download failed .*--data_dir') as caught:
        data.load(TrainConfig(dataset='mnist', data_dir=str(tmp_path), download=True))
    assert '\n' not in str(caught.value) and 'Retrying' not in caplog.text


@pytest.fixture
def server():
    """`server(answer)`: a local HTTP server and proxy; yields its address and the requests."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            requests = []

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    requests.append(self.path)
                    if answer is None:
                        time.sleep(3)
                    else:
                        self.send_error(answer)

                def log_message(self, *_):
                    pass

            running = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
            running.daemon_threads = True
            stack.callback(running.server_close)
            stack.callback(running.shutdown)
            threading.Thread(target=running.serve_forever, daemon=True).start()
            return f'http://127.0.0.1:{running.server_port}', requests

        yield start


def refused_download(tmp_path, *words):
    """Downloads Fashion-MNIST, which must fail; returns the seconds that it took."""
    start = time.monotonic()
    with pytest.raises(MissingDataError) as error:
        data.load(TrainConfig(dataset='fashion_mnist', data_dir=str(tmp_path), download=True))
    message = str(error.value)
    assert 'download failed' in message and '\n' not in message
    assert all(word in message for word in words), message
    return time.monotonic() - start


def test_download_fails_at_once_without_a_network(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')

    monkeypatch.setattr(socket, 'getaddrinfo', fail)
    assert refused_download(tmp_path, 'fashion-mnist.s3', 'Temporary failure') < 5


@pytest.mark.parametrize('silent', ['server', 'name server'])
def test_download_fails_if_no_answer_comes(tmp_path, monkeypatch, server, silent):
    monkeypatch.setattr(tfds_source, 'ANSWER_SECONDS', 0.3)
    address, _ = server(None)
    monkeypatch.setenv('http_proxy', address)
    if silent == 'name server':

        def wait(*_, **__):
            time.sleep(3)
            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')

        monkeypatch.setattr(socket, 'getaddrinfo', wait)
    assert refused_download(tmp_path) < 2.5


def test_download_goes_on_after_any_answer_and_uses_the_proxy(tmp_path, monkeypatch, server):
    address, requests = server(404)
    monkeypatch.setenv('http_proxy', address)
    refused_download(tmp_path, 'DownloadError', '404')
    assert len(requests) > 1  # of tensorflow-datasets, after the first one
    assert all('fashion-mnist.s3' in url for url in requests)


def test_download_uses_files_of_an_earlier_download_without_a_request(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise AssertionError('a request')

    monkeypatch.setattr(socket, 'getaddrinfo', unreachable)
    builder = tfds.builder('fashion_mnist', data_dir=str(tmp_path))
    for url, info in builder.url_infos.items():
        name = tfds.core.download.resource.get_dl_fname(url, info.checksum)
        path = tmp_path / 'downloads' / 'fashion_mnist' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'not gzip')
        path.with_name(f'{name}.INFO').write_text('{}')
    refused_download(tmp_path, 'ExtractError')


@pytest.mark.parametrize('damage', ['truncated', 'removed'])
def test_load_refuses_corrupt_files(serve, tmp_path, damage):
    serve('fashion_mnist', train=examples(40, (28, 28, 1)), test=examples(5, (28, 28, 1)))
    options = dict(dataset='fashion_mnist', data_dir=str(tmp_path), batch_size=8)
    data.load(TrainConfig(**options, download=True))
    (records,) = tmp_path.glob('fashion_mnist/*/*train.tfrecord*')
    if damage == 'truncated':
        records.write_bytes(records.read_bytes()[:-100])
    else:
        records.unlink()
    with pytest.raises(MissingDataError, match='Remove this folder and .*--download'):
        data.load(TrainConfig(**options))


def test_load_refuses_corrupt_metadata(serve, tmp_path):
    serve('fashion_mnist', train=examples(40, (28, 28, 1)), test=examples(5, (28, 28, 1)))
    options = dict(dataset='fashion_mnist', data_dir=str(tmp_path), batch_size=8)
    data.load(TrainConfig(**options, download=True))
    (metadata,) = tmp_path.glob('fashion_mnist/*/dataset_info.json')
    metadata.write_text('{')
    with pytest.raises(
        MissingDataError, match='fashion_mnist cannot be read .* --data_dir'
    ) as error:
        data.load(TrainConfig(**options))
    assert '\n' not in str(error.value)


@pytest.mark.skipif(not (REAL_DATA / 'mnist').is_dir(), reason='no prepared MNIST')
def test_real_mnist():
    dataset = data.load(TrainConfig(dataset='mnist', data_dir=str(REAL_DATA)))
    assert dataset.spec == data.describe(TrainConfig(dataset='mnist'))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (
        55_000,
        5000,
        10_000,
    )
    labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
    pixels = dataset.train.x.sum(dtype=np.int64) + dataset.validation.x.sum(dtype=np.int64)
    # Published class counts, and the mean 33.318 of all training pixels.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(labels).tolist() == counts
    assert pixels / (60_000 * 784) == pytest.approx(33.3184, abs=1e-3)
    held_out = {image.tobytes() for image in dataset.validation.x}
    assert not held_out & {image.tobytes() for image in dataset.train.x}


def test_download_of_several_processes_happens_once(serve, tmp_path, monkeypatch):
    serve('fashion_mnist', train=examples(60, (28, 28, 1)), test=examples(12, (28, 28, 1)))
    builder, prepared = tfds.builder_cls('fashion_mnist'), []
    prepare = builder.download_and_prepare

    def slowly(self):
        prepared.append(self)
        time.sleep(0.5)
        prepare(self)

    monkeypatch.setattr(builder, 'download_and_prepare', slowly)
    options = dict(data_dir=str(tmp_path), download=True, batch_size=8)
    config = TrainConfig(dataset='fashion_mnist', **options)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        sizes = [len(x.test) for x in pool.map(data.load, [config] * 3)]
    assert sizes == [12] * 3 and len(prepared) == 1
