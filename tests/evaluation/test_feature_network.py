import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import archives, network_files, network_graphs, tfgan, verification
from flexae_tf.evaluation.feature_network import FeatureNetwork
from tests.evaluation.networks import PLACES, frozen_inception

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAND_IN = pathlib.Path(
    os.environ.get('FLEXAE_TF_INCEPTION', ROOT.parent / 'shared' / 'data' / 'inception_standin')
)


class SmallInput(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 64, 64, 3], tf.float32)])
    def __call__(self, images):
        return {'pool_3': images[:, 0, 0]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keeps files of tests out of the user's cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path / 'hub'))
    return tmp_path / 'cache'


def random_images(*shape):
    return np.random.default_rng(1).integers(0, 256, size=shape).astype(np.uint8)


def tf1_bilinear(images, size=299):
    """Returns float64 [n, h, w, c] resized like `resize_bilinear` of TensorFlow 1."""
    for axis in (1, 2):
        side = images.shape[axis]
        position = np.arange(size) * (side / size)  # of corners of pixels
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, side - 1)
        weight = (position - low).reshape([-1 if a == axis else 1 for a in range(4)])
        images = np.take(images, low, axis) * (1 - weight) + np.take(images, high, axis) * weight
    return images


def half_pixel_bilinear(images, size=299):
    """Returns float64 [n, h, w, c] resized like PyTorch's bilinear with align_corners=False."""
    for axis in (1, 2):
        side = images.shape[axis]
        position = (np.arange(size) + 0.5) * (side / size) - 0.5  # of centres of pixels
        position = np.clip(position, 0, side - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, side - 1)
        weight = (position - low).reshape([-1 if a == axis else 1 for a in range(4)])
        images = np.take(images, low, axis) * (1 - weight) + np.take(images, high, axis) * weight
    return images


def read_probe(images, resize=tf1_bilinear):
    """Returns the expected output `probe` for images."""
    resized = (resize(images.astype(np.float64)) - 128.0) / 128.0
    read = resized[:, PLACES][:, :, PLACES]
    return np.broadcast_to(read, [len(images), 5, 5, 3]).reshape(len(images), 75)


# Images


def test_tf1_bilinear_by_hand(tiny):
    image = np.array([[0, 100], [200, 40]], np.uint8).reshape(1, 2, 2, 1)
    probe = FeatureNetwork(tiny, 'probe', 1).features(image).reshape(5, 5, 3)
    # Column x of 299 is at 2x/299: 74 at 0.49498, 150 and later at the second column. With
    # half-pixel centres column 74 would equal the first.
    top = np.array([0.0, 49.498, 99.666, 100.0, 100.0])
    bottom = np.array([200.0, 120.803, 40.535, 40.0, 40.0])
    for channel in range(3):
        np.testing.assert_allclose(probe[0, :, channel], (top - 128.0) / 128.0, atol=1e-5)
        np.testing.assert_allclose(probe[4, :, channel], (bottom - 128.0) / 128.0, atol=1e-5)


@pytest.mark.parametrize('shape', [(28, 28, 1), (32, 32, 3), (64, 48, 3), (299, 299, 3)])
def test_tf1_bilinear_agrees_with_numpy(tiny, shape):
    images = random_images(3, *shape)
    features = FeatureNetwork(tiny, 'probe', 2).features(images)
    np.testing.assert_allclose(features, read_probe(images), atol=1e-5)


def test_network_input_range(tiny):
    images = np.stack([np.zeros([8, 8, 3], np.uint8), np.full([8, 8, 3], 255, np.uint8)])
    features = FeatureNetwork(tiny, 'probe', 2).features(images)
    np.testing.assert_array_equal(features[0], -1.0)
    np.testing.assert_array_equal(features[1], 127.0 / 128.0)


def test_network_accepts_unrounded_images(tiny):
    network = FeatureNetwork(tiny, 'probe', 2)
    images = random_images(3, 28, 28, 1)
    np.testing.assert_array_equal(
        network.features(images.astype(np.float32)), network.features(images)
    )
    unrounded = images * np.float32(0.999)
    np.testing.assert_allclose(network.features(unrounded), read_probe(unrounded), atol=1e-5)


def test_half_pixel_bilinear_agrees_with_numpy(tiny):
    images = random_images(2, 32, 32, 3)
    network = FeatureNetwork(tiny, 'probe', 2, resize='half_pixel_bilinear')
    expected = read_probe(images, half_pixel_bilinear)
    np.testing.assert_allclose(network.features(images), expected, atol=1e-5)
    assert network.resize == 'half_pixel_bilinear_299'
    assert np.abs(expected - read_probe(images)).max() > 0.5


@pytest.mark.parametrize('shape', [(28, 28, 1), (64, 48, 3), (500, 400, 3)])
def test_antialiased_bicubic_agrees_with_pillow(tiny, shape):
    pil = pytest.importorskip('PIL.Image')
    images = random_images(2, *shape)

    def bicubic(images):  # clean-fid: channel by channel
        resized = np.zeros([len(images), 299, 299, images.shape[3]])
        for n, _, _, c in np.ndindex(len(images), 1, 1, images.shape[3]):
            channel = pil.fromarray(images[n, :, :, c].astype(np.float32))
            resized[n, :, :, c] = np.clip(channel.resize((299, 299), pil.BICUBIC), 0, 255)
        return resized

    network = FeatureNetwork(tiny, 'probe', 2, resize='antialiased_bicubic')
    np.testing.assert_allclose(network.features(images), read_probe(images, bicubic), atol=1e-4)
    assert network.resize == 'antialiased_bicubic_299'


def test_resize_must_be_known(tiny):
    with pytest.raises(ValueError, match='tf1_bilinear, half_pixel_bilinear, antialiased_bicubic'):
        FeatureNetwork(tiny, 'probe', 2, resize='nearest')


def test_grey_images_become_three_channels(tiny):
    grey = random_images(3, 28, 28, 1)
    network = FeatureNetwork(tiny, 'pool_3', 2)
    np.testing.assert_array_equal(
        network.features(grey), network.features(np.repeat(grey, 3, axis=3))
    )


# Batches


def test_features_do_not_depend_on_batch_size(tiny):
    images = random_images(9, 28, 28, 1)
    one = FeatureNetwork(tiny, 'pool_3', 1).features(images)
    assert one.shape == (9, 6)
    assert one.dtype == np.float32
    assert len(np.unique(one[:, 0])) == 9
    for batch_size in (7, 50, 128):
        other = FeatureNetwork(tiny, 'pool_3', batch_size).features(images)
        assert other.shape == one.shape
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_network_is_loaded_and_traced_once(tiny, monkeypatch):
    loaded, traced = [], []
    load = network_graphs.load

    def counting_load(path):
        loaded.append(str(path))
        network = load(path)

        def counting_network(images, names):
            traced.append(images.shape)
            return network(images, names)

        return counting_network

    monkeypatch.setattr(network_graphs, 'load', counting_load)
    network = FeatureNetwork(tiny, 'pool_3', 4)
    for shape in [(9, 28, 28, 1), (4, 32, 32, 3), (1, 64, 48, 3)]:
        images = random_images(*shape)
        network.features(images)
        network.features(images.astype(np.float32))
    assert loaded == [tiny]
    assert traced == [(4, 299, 299, 3)]


def test_network_memory_does_not_grow(tiny):
    network = FeatureNetwork(tiny, 'pool_3', 8)
    images = random_images(20, 28, 28, 1)

    def resident():
        pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE')

    for _ in range(5):
        network.features(images)
    before = resident()
    for _ in range(20):
        network.features(images)
    assert resident() - before < 150e6  # resized images: 21 MB per call, 430 MB for all calls


@pytest.mark.parametrize(('layer', 'tolerance'), [('pool_4d', 0.0), ('half', 1e-3)])
def test_outputs_become_float32_vectors(tiny, layer, tolerance):
    images = random_images(3, 28, 28, 1)
    features = FeatureNetwork(tiny, layer, 2).features(images)
    assert features.dtype == np.float32
    expected = FeatureNetwork(tiny, 'pool_3', 2).features(images)
    np.testing.assert_allclose(features, expected, atol=tolerance)


@pytest.mark.parametrize('enabled', [True, False])
def test_network_runs_in_full_float32(enabled, tiny, monkeypatch):
    setting = tf.config.experimental
    seen = []

    def network(images, names):
        def look():
            seen.append(setting.tensor_float_32_execution_enabled())
            return np.float32(0.0)

        return {'pool_3': images[:, 0, 0] + tf.numpy_function(look, [], tf.float32)}

    monkeypatch.setattr(network_graphs, 'load', lambda path: network)
    before = setting.tensor_float_32_execution_enabled()
    try:
        setting.enable_tensor_float_32_execution(enabled)
        FeatureNetwork(tiny, 'pool_3', 2).features(random_images(3, 8, 8, 3))
        assert seen == [False, False]
        assert setting.tensor_float_32_execution_enabled() == enabled
    finally:
        setting.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize(
    'images',
    [
        np.zeros([2, 8, 8, 3], np.float64),
        np.zeros([2, 8, 8, 3], np.int32),
        np.zeros([2, 8, 8, 4], np.uint8),
        np.zeros([8, 8, 3], np.uint8),
        np.zeros([0, 8, 8, 3], np.uint8),
    ],
)
def test_network_refuses_images(tiny, images):
    with pytest.raises(ValueError, match=r'uint8 or float32 \[n, h, w, 1 or 3\], not'):
        FeatureNetwork(tiny, 'pool_3', 2).features(images)


@pytest.mark.parametrize('value', [-0.01, 255.01, np.inf, np.nan])
def test_network_refuses_values(tiny, value):
    images = np.zeros([2, 8, 8, 3], np.float32)
    images[1, 2, 3, 1] = value
    with pytest.raises(ValueError, match=r'in 0\.\.255, not in'):
        FeatureNetwork(tiny, 'pool_3', 2).features(images)


# Identity: only the content of a network makes its scores FID


def frozen_graph(folder, seed=0):
    """Writes a frozen graph with the interface of the real one; returns its path and blob id."""
    path = folder / archives.FROZEN_GRAPH
    path.write_bytes(frozen_inception(seed).SerializeToString())
    return str(path), network_files.git_blob_id(path)


@pytest.fixture
def real(tmp_path, monkeypatch):
    """The path of a frozen graph that stands for the real one: its blob id is the expected one."""
    (tmp_path / 'real').mkdir()
    path, blob = frozen_graph(tmp_path / 'real')
    monkeypatch.setattr(network_files, 'INCEPTION_2015', blob)
    return path


class FromGraph(tf.Module):
    """A SavedModel of a frozen graph, like TF-GAN's, with an error in one of its outputs."""

    def __init__(self, path, **errors):
        super().__init__()
        self.network = network_graphs.FrozenInception(pathlib.Path(path))
        self.errors = errors

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)], autograph=False)
    def __call__(self, images):
        outputs = self.network(images, ['pool_3', 'logits', 'mixed_7'])
        return {name: x + self.errors.get(name, 0.0) for name, x in outputs.items()}


@pytest.fixture
def saved(real, tmp_path):
    """`saved(pool_3=error)`: the path of a SavedModel of the real network."""

    def save(**errors):
        folder = str(tmp_path / f'saved{len(list(tmp_path.iterdir()))}')
        tf.saved_model.save(FromGraph(real, **errors), folder)
        return folder

    return save


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`package(text, name)`: adds a golden record to the records of the package."""
    folder = tmp_path / 'golden'
    shutil.copytree(verification.CHECKED_IN, folder)
    monkeypatch.setattr(verification, 'CHECKED_IN', folder)
    return lambda text, name: (folder / f'{name}.json').write_text(text)


def assert_identified(network, *, is_tfgan, has_logits=None):
    has_logits = is_tfgan if has_logits is None else has_logits
    assert (network.is_tfgan, network.has_logits) == (is_tfgan, has_logits)
    assert (network.outputs(random_images(2, 8, 8, 3)).logits is not None) == has_logits
    assert ('not identified' in network.describe()) == (not is_tfgan)
    assert (f'fd_{network.layer}_' in network.describe()) == (not is_tfgan)


def test_blob_id_of_the_real_graph():
    assert network_files.INCEPTION_2015 == 'f34cb9b774a4547b5e214ef4202e5775a9c0f436'


def test_git_blob_id_agrees_with_git(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'some\0content' * 100_000)
    git = subprocess.run(['git', 'hash-object', path], capture_output=True, text=True, check=True)
    assert network_files.git_blob_id(path) == git.stdout.strip()


@pytest.mark.parametrize('kind', ['file', 'folder', 'tgz', 'zip', 'unnamed archive'])
def test_frozen_graph_is_identified_by_its_blob_id(real, tmp_path, cache, kind):
    folder = pathlib.Path(real).parent
    (folder / 'imagenet_synset_to_human_label_map.txt').write_text('n00004475 organism')
    path = real if kind == 'file' else str(folder)
    if kind in ('tgz', 'zip', 'unnamed archive'):
        path = shutil.make_archive(
            str(tmp_path / 'net'), 'zip' if kind == 'zip' else 'gztar', folder
        )
    if kind == 'unnamed archive':
        path = str(pathlib.Path(path).rename(tmp_path / 'download'))
    network = FeatureNetwork(path, 'pool_3', 2, cache=cache)
    assert_identified(network, is_tfgan=True)
    assert network.checksum == network_files.INCEPTION_2015[:12]
    network.verify()
    images = random_images(5, 28, 28, 1)
    outputs = network.outputs(images)
    assert outputs.features.shape == (5, 5) and outputs.logits.shape == (5, 7)
    one = FeatureNetwork(path, 'logits', 1, cache=cache).outputs(images)
    np.testing.assert_allclose(outputs.logits, one.features, rtol=1e-5, atol=1e-6)


def test_frozen_graph_with_other_content_is_not_identified(real, tmp_path):
    path, _ = frozen_graph(tmp_path, seed=1)
    assert_identified(FeatureNetwork(path, 'pool_3', 2), is_tfgan=False)


def test_frozen_graph_gives_every_block(real):
    network = FeatureNetwork(real, 'mixed_7', 2)
    assert network.is_tfgan and network.features(random_images(3, 28, 28, 1)).shape == (3, 5)
    with pytest.raises(MissingDataError, match='only conv, logits, mixed_7, pool_3, softmax'):
        FeatureNetwork(real, 'mixed_8', 2)


def test_saved_model_is_identified_by_golden_features(real, saved, package, cache):
    folder = saved()
    before = FeatureNetwork(folder, 'pool_3', 4, cache=cache)
    before.verify()
    assert_identified(before, is_tfgan=False)
    record = FeatureNetwork(real, 'pool_3', 4, cache=cache).golden_record()
    assert json.loads(record)['is_tfgan'] is True
    package(record, network_files.INCEPTION_2015[:12])
    for resize in ('tf1_bilinear', 'half_pixel_bilinear'):
        network = FeatureNetwork(folder, 'pool_3', 2, resize=resize, cache=cache)
        assert_identified(network, is_tfgan=True)
        # Scores by the graph and by the SavedModel have the same protocol.
        assert network.checksum == network_files.INCEPTION_2015[:12] != before.checksum
    network.verify()
    assert FeatureNetwork(folder, 'mixed_7', 4, cache=cache).checksum == before.checksum


@pytest.mark.parametrize(
    ('errors', 'is_tfgan', 'has_logits'),
    [
        ({'mixed_7': 1.0, 'pool_3': 1e-6}, True, True),
        ({'logits': 0.01}, True, False),  # for example with the bias
        ({'pool_3': [0.0, 0.0, 0.01, 0.0, 0.0]}, False, False),
        ({'pool_3': np.nan}, False, False),
    ],
)
def test_golden_features_cover_every_output(saved, real, package, errors, is_tfgan, has_logits):
    package(FeatureNetwork(real, 'pool_3', 4).golden_record(), 'ffffffffffff')
    network = FeatureNetwork(saved(**errors), 'pool_3', 4)
    assert (network.is_tfgan, network.has_logits) == (is_tfgan, has_logits)


def test_saved_model_is_identified_by_its_checksum(tiny, package):
    network = FeatureNetwork(tiny, 'probe', 4)
    record = json.loads(network.golden_record())
    assert record['is_tfgan'] is False and set(record['features']) == {'pool_3', 'logits'}
    package(json.dumps(record), network.checksum)
    assert_identified(FeatureNetwork(tiny, 'probe', 4), is_tfgan=False)
    package(json.dumps(record | {'is_tfgan': True}), network.checksum)
    network = FeatureNetwork(tiny, 'probe', 4)
    assert network.is_tfgan and network.has_logits
    network = FeatureNetwork(tiny, 'pool_3', 4)
    network.verify()
    images = random_images(3, 28, 28, 1)
    outputs = network.outputs(images)
    np.testing.assert_allclose(outputs.logits, 2.0 * outputs.features[:, :4], rtol=1e-6)


@pytest.mark.parametrize('place', ['hub', 'cache', 'own cache', 'record'])
def test_no_place_promotes_a_network(tiny, real, cache, tmp_path, monkeypatch, place):
    path, _ = frozen_graph(tmp_path, seed=1)
    network = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
    if place == 'hub':  # the folder of the handle
        hub = tmp_path / 'hub' / hashlib.sha1(tfgan.HANDLE.encode()).hexdigest()
        shutil.copytree(tiny, hub)
        network = FeatureNetwork(None, 'pool_3', 4, cache=cache)
        assert network.files.source == str(hub)
    elif place == 'cache':
        cache.mkdir()
        shutil.copy(path, cache)
        network = FeatureNetwork(None, 'pool_3', 4, cache=cache)
    elif place == 'own cache':
        cache.mkdir()
        with tarfile.open(cache / network_files.ARCHIVE, 'w:gz') as archive:
            archive.add(path, archives.FROZEN_GRAPH)
        network = FeatureNetwork(None, 'pool_3', 4, cache=cache)
    network.verify()
    if place == 'record':  # of the first use, changed by hand
        (record,) = (cache / 'golden_features').iterdir()
        document = json.loads(record.read_text())
        del document['checksum']
        record.write_text(json.dumps(document | {'is_tfgan': True}))
        network = FeatureNetwork(tiny, 'pool_3', 4, cache=cache)
        network.verify()
    assert_identified(network, is_tfgan=False)


def test_logits_are_a_layer_of_any_network(tiny):
    images = random_images(3, 28, 28, 1)
    outputs = FeatureNetwork(tiny, 'logits', 2).outputs(images)
    assert outputs.features.shape == (3, 4) and outputs.logits is None


def test_describe_names_network_and_scores(tiny):
    network = FeatureNetwork(tiny, 'probe', 2)
    text = network.describe()
    for words in (tiny, network.checksum, 'layer probe', 'tf1_bilinear_299', 'fd_probe_'):
        assert words in text


# Networks that cannot be used


def refusal(path, layer='pool_3'):
    with pytest.raises(MissingDataError) as error:
        FeatureNetwork(path, layer, 2)
    message = str(error.value)
    assert '\n' not in message
    assert '--inception_path' in message
    return message


def test_network_missing_folder(tmp_path):
    assert 'nowhere' in refusal(str(tmp_path / 'nowhere'))


def test_network_without_saved_model(tmp_path):
    (tmp_path / 'notes.txt').write_text('no network')
    assert 'saved_model.pb' in refusal(str(tmp_path))


@pytest.mark.parametrize('name', ['saved_model.pb', 'variables/variables.data-00000-of-00001'])
def test_network_corrupt_saved_model(tiny, tmp_path, name):
    folder = tmp_path / 'corrupt'
    shutil.copytree(tiny, folder)
    contents = (folder / name).read_bytes()
    (folder / name).write_bytes(contents[: len(contents) // 2])
    assert 'cannot load' in refusal(str(folder))
    (folder / name).unlink()
    assert 'cannot load' in refusal(str(folder))


@pytest.mark.parametrize('share', [0.0, 0.3, 0.99])
def test_network_corrupt_frozen_graph(real, share):
    path = pathlib.Path(real)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert 'cannot load' in refusal(real)


def test_network_without_the_layer(tiny):
    message = refusal(tiny, 'mixed_7')
    assert message.startswith('--feature_layer=mixed_7: ')
    assert 'half, logits, map, number, pool_3, pool_4d, probe, text' in message


@pytest.mark.parametrize('layer', ['map', 'number', 'text'])
def test_network_layer_must_be_vectors(tiny, layer):
    assert 'not a vector for each image' in refusal(tiny, layer)


def test_network_of_another_input_size(tmp_path):
    tf.saved_model.save(SmallInput(), str(tmp_path / 'net'))
    assert '(2, 299, 299, 3)' in refusal(str(tmp_path / 'net'))


def test_network_must_be_callable(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / 'net'))
    assert 'does not take images' in refusal(str(tmp_path / 'net'))


# Archives


@pytest.fixture
def pack(tiny, tmp_path):
    """`pack('gztar')`: an archive of `tiny`."""
    formats = {'tar': '.tar', 'gztar': '.tar.gz', 'zip': '.zip'}

    def make(kind, folder=tiny):
        shutil.make_archive(str(tmp_path / 'net'), kind, folder)
        return tmp_path / f'net{formats[kind]}'

    return make


@pytest.mark.parametrize('kind', ['tar', 'gztar', 'zip'])
def test_archive_gives_the_same_network(tiny, pack, cache, kind):
    images = random_images(2, 8, 8, 3)
    from_folder = FeatureNetwork(tiny, 'pool_3', 2)
    network = FeatureNetwork(str(pack(kind)), 'pool_3', 2, cache=cache)
    np.testing.assert_array_equal(network.features(images), from_folder.features(images))
    assert network.checksum == from_folder.checksum
    assert not network.is_tfgan


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('kind', ['tar', 'gztar', 'zip'])
def test_archive_truncated(pack, kind, share):
    archive = pack(kind)
    whole = archive.read_bytes()
    if kind == 'tar':
        whole = whole.rstrip(b'\0')
    archive.write_bytes(whole[: int(share * len(whole))])
    assert archive.name in refusal(str(archive))
    assert not list(archives.default_cache().glob('networks/*'))
    assert not list(archives.default_cache().glob('networks/.*'))


def test_archive_of_incomplete_network(tiny, pack, tmp_path):
    shutil.copytree(tiny, tmp_path / 'half')
    shutil.rmtree(tmp_path / 'half' / 'variables')
    assert 'net.zip' in refusal(str(pack('zip', tmp_path / 'half')))
    assert not list(archives.default_cache().glob('networks/*'))


def test_archive_is_unpacked_again_after_loss(pack, cache):
    archive = str(pack('gztar'))
    FeatureNetwork(archive, 'pool_3', 2, cache=cache)
    (unpacked,) = (cache / 'networks').iterdir()
    (unpacked / 'variables' / 'variables.index').unlink()
    with pytest.raises(MissingDataError):
        FeatureNetwork(archive, 'pool_3', 2, cache=cache)
    FeatureNetwork(archive, 'pool_3', 2, cache=cache)


def test_archive_missing(tmp_path):
    assert 'net.tar.gz' in refusal(str(tmp_path / 'net.tar.gz'))


# The checksum


def test_checksum_covers_names_and_contents(tiny):
    files = [path for path in pathlib.Path(tiny).rglob('*') if path.is_file()]
    names = sorted(path.relative_to(tiny).as_posix() for path in files)
    names.remove('fingerprint.pb')
    assert names[0] == 'saved_model.pb'
    text = b''
    for name in names:
        contents = (pathlib.Path(tiny) / name).read_bytes()
        text += f'{name} {len(contents)}\n'.encode() + contents
    checksum = hashlib.sha256(text).hexdigest()[:12]
    assert FeatureNetwork(tiny, 'pool_3', 2).checksum == checksum


def test_checksum_distinguishes_networks(tiny, tmp_path):
    def copy(name):
        shutil.copytree(tiny, tmp_path / name)
        return tmp_path / name

    def saved_model_checksum(folder):
        return network_files.saved_model_checksum(pathlib.Path(folder))

    original = saved_model_checksum(tiny)
    assert saved_model_checksum(str(copy('elsewhere'))) == original

    annotated = copy('annotated')
    (annotated / 'README.md').write_text('from a friend')
    (annotated / 'fingerprint.pb').write_bytes(b'of another export')
    assert saved_model_checksum(str(annotated)) == original

    retrained = copy('retrained')
    data = retrained / 'variables' / 'variables.data-00000-of-00001'
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    renamed = copy('renamed')
    (renamed / 'saved_model.pb').rename(renamed / 'saved_model.pbtxt')
    with_assets = copy('with_assets')
    (with_assets / 'assets').mkdir(exist_ok=True)
    (with_assets / 'assets' / 'labels.txt').write_text('cat')
    others = {saved_model_checksum(str(folder)) for folder in (retrained, renamed, with_assets)}
    assert len(others | {original}) == 4


# The stand-in for TF-GAN's network


@pytest.mark.skipif(not STAND_IN.is_dir(), reason='no network at $FLEXAE_TF_INCEPTION')
def test_stand_in_features():
    images = random_images(3, 28, 28, 1)
    network = FeatureNetwork(str(STAND_IN), 'mixed_7', 4)
    features = network.features(images)
    resized = np.repeat((tf1_bilinear(images.astype(np.float64)) - 128.0) / 128.0, 3, axis=3)
    expected = tf.saved_model.load(str(STAND_IN))(tf.constant(resized, tf.float32))['mixed_7']
    assert features.shape == (3, 768)
    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert not network.is_tfgan
    assert len(network.checksum) == 12


# Several devices


@pytest.mark.parametrize('num', [1, 3, 4, 5])
@pytest.mark.parametrize('kind', ['frozen_graph', 'saved_model'])
def test_features_do_not_depend_on_the_number_of_devices(real, tiny, kind, num, mirrored):
    path = real if kind == 'frozen_graph' else tiny
    one = FeatureNetwork(path, None, 2)
    two = FeatureNetwork(path, None, 2, strategy=mirrored(2))
    assert (one.num_devices, two.num_devices) == (1, 2)
    assert one.checksum == two.checksum and one.has_logits == two.has_logits
    images = random_images(num, 9, 9, 3)
    for a, b in zip(one.outputs(images), two.outputs(images), strict=True):
        np.testing.assert_array_equal(a, b)


def test_network_is_verified_on_every_device(tiny, cache, mirrored, monkeypatch):
    verified, verify = [], verification.verify_features

    def record(features, *rest):
        verified.append(features)
        verify(features, *rest)

    monkeypatch.setattr(verification, 'verify_features', record)
    FeatureNetwork(tiny, 'pool_3', 3, cache=cache, strategy=mirrored(2)).verify()
    np.testing.assert_array_equal(*verified)
    assert verified[0].shape == (verification.IMAGES, 6) and verified[0].any()


@pytest.mark.parametrize(
    ('layer', 'problem'), [('pool_9', 'no such output'), ('text', 'string'), ('number', 'float32')]
)
def test_unusable_output_is_refused_on_several_devices(tiny, layer, problem, mirrored):
    with pytest.raises(MissingDataError, match=problem) as error:
        FeatureNetwork(tiny, layer, 2, strategy=mirrored(2))
    with pytest.raises(MissingDataError) as expected:
        FeatureNetwork(tiny, layer, 2)
    assert str(error.value) == str(expected.value)
