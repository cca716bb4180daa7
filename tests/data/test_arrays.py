import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import arrays, memory
from flexae_tf.errors import MissingDataError, UsageError

IMAGES = np.arange(40 * 5 * 5 * 3, dtype=np.uint32).reshape(40, 5, 5, 3).astype(np.uint8)
LABELS = np.arange(40) % 4


def save(folder, **arrays):
    path = folder / 'data.npz'
    np.savez_compressed(path, **arrays)
    return path


def config(path, **options):
    options = dict(batch_size=4) | options
    return TrainConfig(dataset='folder', data_dir=str(path), **options)


@pytest.mark.parametrize('name', ['images', 'faces', 'x_train'])
@pytest.mark.parametrize('channels', [None, 1, 3])
def test_load_splits_one_array(tmp_path, name, channels):
    images = IMAGES[..., 0] if channels is None else IMAGES[..., :channels]
    path = save(tmp_path, **{name: images})
    spec = data.describe(config(path))
    assert (spec.shape, spec.train_size, spec.test_size) == ((5, 5, channels or 1), 36, 4)
    assert spec.num_classes is None
    dataset = data.load(config(path))
    assert dataset.spec == spec
    parts = [dataset.train, dataset.validation, dataset.test]
    assert [len(part) for part in parts] == [33, 3, 4]
    assert all(part.labels is None for part in parts)
    loaded = np.concatenate([part.x for part in parts])
    assert loaded.shape == (40, *spec.shape) and loaded.dtype == np.uint8
    assert sorted(loaded[:, 2, 2, 0]) == sorted(images.reshape(40, 5, 5, -1)[:, 2, 2, 0])


def test_load_ignores_other_arrays_beside_images(tmp_path):
    path = save(tmp_path, images=IMAGES, ages=np.zeros(40))
    assert data.load(config(path)).spec.train_size == 36


@pytest.mark.parametrize('column', [False, True])
def test_load_reads_the_names_of_keras(tmp_path, column):
    labels = LABELS[:, None] if column else LABELS.astype(np.uint8)
    path = save(
        tmp_path, x_train=IMAGES[:30], y_train=labels[:30], x_test=IMAGES[30:], y_test=labels[30:]
    )
    dataset = data.load(config(path))
    assert dataset.spec == data.describe(config(path))
    assert (dataset.spec.train_size, dataset.spec.test_size) == (30, 10)
    assert dataset.spec.num_classes == 4
    np.testing.assert_array_equal(dataset.test.x, IMAGES[30:])
    assert dataset.test.labels.dtype == np.int64
    assert dataset.test.labels.tolist() == LABELS[30:].tolist()
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    for image, label in zip(dataset.train.x, dataset.train.labels, strict=True):
        assert label_of[image.tobytes()] == label


def test_load_reads_labels_of_the_training_split_only(tmp_path):
    path = save(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:3])
    dataset = data.load(config(path))
    assert dataset.train.labels is not None and dataset.test.labels is None


def refused(path, *words):
    with pytest.raises(MissingDataError) as caught:
        data.load(config(path))
    message = str(caught.value)
    assert caught.value.exit_code == 3 and '\n' not in message
    assert str(path) in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    'arrays, words',
    [
        (dict(images=IMAGES / np.float32(255)), ['float32', 'np.rint(255 * x)']),
        (dict(images=IMAGES.astype(np.int64)), ['int64', 'uint8']),
        (dict(images=IMAGES.astype(object)), ['object', 'uint8']),
        (dict(images=IMAGES[:, :4]), ['4 high', '5 wide', 'squares']),
        (dict(images=IMAGES[..., :2]), ['(40, 5, 5, 2)', '[n, h, w, 3]']),
        (dict(images=IMAGES[:, 0, 0]), ['(40, 3)', '[n, h, w]']),
        (dict(images=IMAGES[:0]), ['(0, 5, 5, 3)', '[n, h, w]']),
        (dict(a=IMAGES, b=IMAGES), ['a, b', "'images'"]),
        (dict(), ['nothing', "'images'"]),
        (dict(x_train=IMAGES, x_test=IMAGES[:, :4, :4]), ['x_test', '(4, 4, 3)', 'equal']),
        (dict(x_train=IMAGES, y_train=LABELS[1:]), ['y_train', '(39,)', 'every image']),
        (dict(x_train=IMAGES, y_train=LABELS - 1), ['y_train', '>= 0']),
        (dict(x_train=IMAGES, y_train=LABELS * 1.0), ['y_train', 'float64', 'integer']),
    ],
)
def test_load_refuses_unusable_arrays(tmp_path, arrays, words):
    refused(save(tmp_path, **arrays), *words)


def test_load_refuses_more_than_memory(tmp_path, monkeypatch):
    np.savez(tmp_path / 'a.npz', images=np.zeros([30, 8, 8], np.uint8))
    num_bytes = 2 * 30 * 64  # splitting copies the images
    monkeypatch.setattr(memory, 'available', lambda: num_bytes)
    data.load(config(tmp_path / 'a.npz'))
    monkeypatch.setattr(memory, 'available', lambda: num_bytes - 1)
    with pytest.raises(UsageError, match='images of .*a.npz: .* needed'):
        data.load(config(tmp_path / 'a.npz'))


def test_load_refuses_a_file_that_is_no_archive(tmp_path):
    path = tmp_path / 'data.npz'
    path.write_bytes(b'not a zip file')
    refused(path, 'not a readable .npz', 'numpy.savez')


def test_load_refuses_a_truncated_archive(tmp_path):
    path = save(tmp_path, images=IMAGES)
    path.write_bytes(path.read_bytes()[:-50])
    refused(path, 'not a readable .npz', 'numpy.savez')


def test_load_refuses_flipped_bits(tmp_path):
    path = tmp_path / 'data.npz'
    np.savez(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused(path, 'not a readable .npz', 'numpy.savez')


def test_describe_refuses_another_image_size(tmp_path):
    path = save(tmp_path, images=IMAGES)
    with pytest.raises(UsageError, match='--image_size=8.*Leave --image_size out'):
        data.describe(config(path, image_size=8))
    assert data.describe(config(path, image_size=5)).shape == (5, 5, 3)


def test_load_images_returns_the_only_array(tmp_path):
    images = arrays.load_images(save(tmp_path, images=IMAGES[..., 0]), max_images=99, value_range=None, resize_to=None)
    np.testing.assert_array_equal(images, IMAGES[..., :1])


def test_load_images_refuses_a_data_set(tmp_path):
    path = save(tmp_path, x_train=IMAGES)
    with pytest.raises(MissingDataError, match="holds a data set. .* 'images'"):
        arrays.load_images(path, max_images=99, value_range=None, resize_to=None)
