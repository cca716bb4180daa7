import os
import struct
import zipfile

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import arrays, memory
from flexae_tf.data.dataset import Purpose, fixed_permutation
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.image_grid import to_uint8

IMAGES = np.arange(40 * 5 * 5 * 3, dtype=np.uint32).reshape(40, 5, 5, 3).astype(np.uint8)
LABELS = np.arange(40) % 4


def save(folder, **arrays):
    path = folder / 'data.npz'
    np.savez_compressed(path, **arrays)
    return path


def save_one(folder, array):
    path = folder / 'data.npy'
    np.save(path, array)
    return path


def config(path, **options):
    options = dict(batch_size=4) | options
    return TrainConfig(dataset='folder', data_dir=str(path), **options)


def to_score(path, **options):
    options = dict(max_images=99, value_range=None, resize_to=None) | options
    return arrays.load_images(path, **options)


ORDER = fixed_permutation(40, Purpose.EVALUATION)  # of `to_score`


@pytest.mark.parametrize('name', ['images', 'faces', 'x_train', 'npy'])
@pytest.mark.parametrize('channels', [None, 1, 3])
def test_load_splits_one_array(tmp_path, name, channels):
    images = IMAGES[..., 0] if channels is None else IMAGES[..., :channels]
    path = save_one(tmp_path, images) if name == 'npy' else save(tmp_path, **{name: images})
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


PUBLIC_NAMES = [  # names of training images and labels, test images and labels
    ('x_train', 'y_train', 'x_test', 'y_test'),  # Keras
    ('X_train', 'Y_train', 'X_test', 'Y_test'),
    ('trainX', 'trainy', 'testX', 'testy'),
    ('train_images', 'train_labels', 'test_images', 'test_labels'),  # MedMNIST
    ('training_data', 'training_target', 'test_data', 'test_target'),
]


@pytest.mark.parametrize('names', PUBLIC_NAMES)
def test_load_reads_splits_under_public_names(tmp_path, names):
    parts = (IMAGES[:30], LABELS[:30, None].astype(np.uint8), IMAGES[30:], LABELS[30:])
    arrays = dict(zip(names, parts, strict=True))
    path = save(tmp_path, **arrays, about=np.array('public'))
    dataset = data.load(config(path))
    assert dataset.spec == data.describe(config(path))
    assert (dataset.spec.train_size, dataset.spec.test_size) == (30, 10)
    assert dataset.spec.num_classes == 4
    np.testing.assert_array_equal(dataset.test.x, IMAGES[30:])
    assert dataset.test.labels.tolist() == LABELS[30:].tolist()


def test_load_never_trains_on_a_validation_split(tmp_path):
    """MedMNIST: without test images, the validation images are the test set."""
    train = dict(train_images=IMAGES[:20], train_labels=LABELS[:20, None])
    held_out = dict(val_images=IMAGES[20:26], val_labels=LABELS[20:26, None])
    test = dict(test_images=IMAGES[26:], test_labels=LABELS[26:, None])
    path = save(tmp_path, **train, **held_out, **test)
    options = config(path, train_examples=20, validation_examples=6)
    dataset = data.load(options)
    assert dataset.spec == data.describe(options)
    for split, start, end in ((dataset.train, 0, 20), (dataset.validation, 20, 26)):
        found = sorted(image.tobytes() for image in split.x)
        assert found == sorted(image.tobytes() for image in IMAGES[start:end])
    np.testing.assert_array_equal(dataset.test.x, IMAGES[26:])
    assert dataset.test.labels.tolist() == LABELS[26:].tolist()
    with pytest.raises(UsageError, match='--validation_examples=7: the data have 6'):
        data.describe(config(path, validation_examples=7))
    dataset = data.load(config(save(tmp_path, **train, **held_out), validation_examples=4))
    np.testing.assert_array_equal(dataset.test.x, IMAGES[20:26])
    assert len(dataset.train) == 16


@pytest.mark.parametrize(
    'images, labels',
    [
        ('images', 'labels'),
        ('x', 'y'),
        ('X', 'label'),
        ('imgs', 'latents'),  # dSprites
        ('data', 'target'),
        ('samples', 'z'),
        ('arr_0', 'arr_1'),  # guided-diffusion, numpy.savez without names
        ('arr_0', 'mu'),  # reference batches of guided-diffusion
    ],
)
def test_load_reads_one_split_under_public_names(tmp_path, images, labels):
    has_labels = labels in ('labels', 'y', 'label', 'target', 'arr_1')
    path = save(tmp_path, **{images: IMAGES, labels: LABELS if has_labels else np.zeros([40, 9])})
    dataset = data.load(config(path))
    assert dataset.spec == data.describe(config(path))
    assert dataset.spec.num_classes == (4 if has_labels else None)
    np.testing.assert_array_equal(to_score(path), IMAGES[ORDER])


def test_load_does_not_use_several_labels_of_an_image(tmp_path, capsys):
    path = save(tmp_path, images=IMAGES, labels=np.zeros([40, 14], np.uint8))
    assert data.load(config(path)).train.labels is None
    assert 'labels (uint8 [40, 14]) is not used' in capsys.readouterr().out


def stored_forms():
    """Yields name, array as stored, and images [n, h, w, c] that it holds."""
    grey = IMAGES[..., :1]
    yield 'channels first', IMAGES.transpose(0, 3, 1, 2), IMAGES
    yield 'one channel first', grey.transpose(0, 3, 1, 2), grey
    yield 'rows of values', grey.reshape(40, 25), grey
    yield 'Fortran order', np.asfortranarray(IMAGES), IMAGES
    yield 'every second image', IMAGES[::2], IMAGES[::2]


@pytest.mark.parametrize('kind', ['npy', 'npz'])
@pytest.mark.parametrize('form', [name for name, *_ in stored_forms()])
def test_load_images_reads_stored_forms(tmp_path, kind, form):
    stored, images = next(pair for name, *pair in stored_forms() if name == form)
    path = save_one(tmp_path, stored) if kind == 'npy' else save(tmp_path, images=stored)
    order = fixed_permutation(len(images), Purpose.EVALUATION)
    np.testing.assert_array_equal(to_score(path), images[order])
    np.testing.assert_array_equal(to_score(path, max_images=7), images[order[:7]])
    assert data.load(config(path)).spec.shape == images.shape[1:]


def test_load_images_keeps_images_that_are_not_square(tmp_path):
    path = save(tmp_path, images=IMAGES[:, :4])
    np.testing.assert_array_equal(to_score(path), IMAGES[ORDER, :4])


@pytest.mark.parametrize('dtype', ['uint8', 'int64', '>i4', 'f2', 'f4', '>f4', 'f8'])
def test_to_uint8_inverts_every_range(dtype):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 4, 4)
    stored = {'0..255': grey.astype(dtype)}
    if np.dtype(dtype).kind == 'f':
        stored['0..1'] = (grey / 255.0).astype(dtype)
        stored['-1..1'] = (grey / 127.5 - 1.0).astype(dtype)
    for value_range, x in stored.items():
        result = arrays.to_uint8(x, value_range)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, grey)


def test_to_uint8_rounds_like_outputs_of_a_model():
    x = np.random.default_rng(0).random([50, 8, 8, 3], np.float32)
    np.testing.assert_array_equal(arrays.to_uint8(x, '0..1'), to_uint8(x))
    np.testing.assert_array_equal(arrays.to_uint8(2 * x - 1, '-1..1'), to_uint8(x))


@pytest.mark.parametrize('dtype', ['uint8', 'bool', 'int32', 'f4'])
def test_to_uint8_scales_black_and_white_images(dtype):
    x = np.array([[0, 1], [1, 1]], dtype)
    assert arrays.to_uint8(x, '0..1').tolist() == [[0, 255], [255, 255]]


def test_to_uint8_keeps_uint8_in_every_range():
    """One side of a score may be uint8 and the other one float."""
    for value_range in (None, '0..1', '-1..1', '0..255'):
        np.testing.assert_array_equal(arrays.to_uint8(IMAGES, value_range), IMAGES)
    dark = IMAGES // 200
    np.testing.assert_array_equal(arrays.to_uint8(dark, '0..255'), dark)


@pytest.mark.parametrize(
    'values, value_range, words',
    [
        ([0, 1.01], '0..1', 'values 0 .. 1.01, outside --value_range=0..1'),
        ([-0.01, 1], '0..1', 'values -0.01 .. 1, outside'),
        ([0.0, 255.0], '-1..1', 'values 0 .. 255, outside'),
        ([0, np.nan], '0..1', 'values nan .. nan, outside'),
        ([0, np.inf], '0..255', 'values 0 .. inf, outside'),
        (np.array([0, 256]), '0..255', 'values 0 .. 256, outside'),
        (np.array([-1, 0]), '0..255', 'values -1 .. 0, outside'),
        (np.array([0, 1], np.uint8), None, '--value_range=0..1 or 0..255'),
        (np.array([0, 1], np.uint8), '-1..1', '--value_range=0..1 or 0..255'),
    ],
)
def test_to_uint8_refuses_other_values(values, value_range, words):
    with pytest.raises(ValueError) as error:
        arrays.to_uint8(np.asarray(values), value_range)
    assert words in str(error.value)


def test_to_uint8_accepts_what_rounding_moves_into_the_range():
    x = np.float32([-1e-3, 1.001])
    assert arrays.to_uint8(x, '0..1').tolist() == [0, 255]


def test_load_reads_floats_of_a_stated_range(tmp_path):
    path = save(tmp_path, x_train=IMAGES[:30] / 255.0, x_test=IMAGES[30:] / np.float32(255))
    dataset = data.load(config(path, value_range='0..1'))
    np.testing.assert_array_equal(dataset.test.x, IMAGES[30:])
    np.testing.assert_array_equal(
        to_score(save_one(tmp_path, IMAGES / 127.5 - 1), value_range='-1..1'), IMAGES[ORDER]
    )
    outside = save(tmp_path, x_train=IMAGES / 127.5)
    words = ['x_train (float64 [40, 5, 5, 3])', 'values 0 .. 2, outside']
    refused(outside, *words, value_range='-1..1')


def test_image_size_resizes_arrays_like_a_folder(tmp_path):
    """The largest centre square of 6 x 10, reduced to 3 x 3 by the mean of neighbours."""
    from flexae_tf.data.decoding import crop_and_resize

    images = np.random.default_rng(0).integers(0, 256, [130, 6, 10, 3], np.uint8)
    expected = np.stack([crop_and_resize(image, size=4).numpy() for image in images])
    path = save(tmp_path, x_train=images, x_test=images[:50])
    options = config(path, image_size=4)
    dataset = data.load(options)
    assert dataset.spec == data.describe(options) and dataset.spec.shape == (4, 4, 3)
    np.testing.assert_array_equal(dataset.test.x, expected[:50])
    order = fixed_permutation(130, Purpose.EVALUATION)
    path = save_one(tmp_path, images)
    np.testing.assert_array_equal(to_score(path, resize_to=4, max_images=130), expected[order])


def refused(path, *words, **options):
    with pytest.raises(MissingDataError) as caught:
        data.load(config(path, **options))
    message = str(caught.value)
    assert caught.value.exit_code == 3 and '\n' not in message
    assert message.startswith(f'{path}: ') and message.endswith('.')
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    'arrays, words',
    [
        (dict(images=IMAGES / np.float32(255)), ['float32', '--value_range=0..255, 0..1, -1..1']),
        (dict(images=IMAGES.astype(np.int64)), ['int64', '--value_range']),
        (dict(images=IMAGES // 200), ['uint8', 'values 0 and 1', '--value_range=0..1']),
        (dict(images=IMAGES.astype(object)), ['object', 'no numbers']),
        (dict(images=IMAGES.astype(complex)), ['complex128', 'no numbers']),
        (dict(images=np.array(['a', 'b'])), ['no numbers']),
        (dict(images=IMAGES[:, :4]), ['not square', '--image_size']),
        (dict(images=IMAGES[..., :2]), ['[40, 5, 5, 2]', '[n, h, w, 1 or 3]']),
        (dict(images=IMAGES[:, 0, 0]), ['[40, 3]', '[n, h, w]']),
        (dict(images=IMAGES.reshape(40, 75)), ['[40, 75]', '[n, h, w]']),  # 3 x 5 x 5
        (dict(images=IMAGES.transpose(1, 2, 3, 0)), ['[5, 5, 3, 40]', '[n, h, w']),  # SVHN
        (dict(images=IMAGES[None]), ['[1, 40, 5, 5, 3]', '[n, h, w']),
        (dict(images=IMAGES[:0]), ['[0, 5, 5, 3]', '[n, h, w']),
        (dict(images=IMAGES[:, :0]), ['[40, 0, 5, 3]', '[n, h, w']),
        (dict(a=IMAGES, b=IMAGES), ['a (uint8 [40, 5, 5, 3]), b (', "'images'"]),
        (dict(images=IMAGES, data=IMAGES), ['images (', 'data (', "'images'"]),
        (dict(arr_0=IMAGES, arr_1=IMAGES), ['arr_0 (', 'arr_1 (', "'images'"]),
        (dict(arr_0=IMAGES, arr_1=LABELS, arr_2=IMAGES), ['arr_2 (', "'images'"]),
        (dict(images=IMAGES, x_test=IMAGES), ['images (', 'x_test (', "'x_train'"]),
        (dict(x_test=IMAGES, y_test=LABELS), ['x_test (', "'x_train'"]),
        (dict(x_val=IMAGES, x_test=IMAGES), ['x_val (', "'x_train'"]),
        (dict(mu=np.zeros(8), sigma=np.zeros([8, 8])), ['mu (float64 [8])', "'images'"]),
        (dict(), ['no arrays', "'images'"]),
        (dict(x_train=IMAGES, x_test=IMAGES[:, :4, :4]), ['x_test', '[4, 4, 3]', 'equal']),
        (dict(x_train=IMAGES, x_test=IMAGES[..., 0]), ['x_test', '[5, 5, 1]', 'equal']),
        (dict(x_train=IMAGES, y_train=LABELS[1:]), ['y_train', '[39]', 'every image']),
        (dict(x_train=IMAGES, y_train=LABELS - 1), ['y_train', '>= 0']),
        (dict(x_train=IMAGES, y_train=LABELS * 1.0), ['y_train', 'float64', 'integer']),
        (dict(x_train=IMAGES, y_train=np.array(['cat'] * 40)), ['y_train', 'integer']),
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


def header(shape):
    """Returns the header of an .npy file that announces uint8 images of a shape."""
    text = repr(dict(descr='|u1', fortran_order=False, shape=shape)).encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text) + 1) + text + b'\n'


@pytest.mark.parametrize('kind', ['npy', 'npz'])
@pytest.mark.parametrize(
    'content',
    [
        header((10**13, 64, 64, 3)) + b'x' * 100,
        header((10**30, 64, 64, 3)),
        header((-4, -4, 4)) + b'x' * 100,
        header((40, 5, 5)) + b'x' * 999,
        header((40, 5, 5))[:20],
        b'\x93NUMPY\x01\x00\xff\xff{',
        b'\x93NUMPY\x01\x00\x06\x00{((((\n',
        b'\x93NUMPY\x09\x09' + b'x' * 200,
        b'\x93NUMPY',
    ],
)
def test_load_refuses_corrupt_headers_before_it_allocates(tmp_path, kind, content, monkeypatch):
    path = tmp_path / f'data.{kind}'
    if kind == 'npy':
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('images.npy', content)
    monkeypatch.setattr(arrays, 'read', None)  # the headers suffice
    refused(path, 'not a readable .npy or .npz file', 'numpy.savez')


def test_load_refuses_an_archive_that_unpacks_to_more_than_memory(tmp_path, monkeypatch):
    path = save(tmp_path, images=np.zeros([1000, 100, 100], np.uint8))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(memory, 'available', lambda: 10**7)
    monkeypatch.setattr(arrays, 'read', None)
    with pytest.raises(UsageError, match='GiB of memory needed'):
        data.load(config(path))


@pytest.mark.parametrize(('order', 'fits'), [('C', True), ('F', False)])
def test_few_rows_of_a_large_file_need_little_memory(tmp_path, monkeypatch, order, fits):
    path, x = tmp_path / 'x.npy', np.zeros([1000, 100, 100], np.uint8, order)
    np.save(path, x)
    monkeypatch.setattr(memory, 'available', lambda: 10**6)
    few = dict(max_images=10, value_range=None, resize_to=None)
    if fits:
        assert arrays.load_images(path, **few).shape == (10, 100, 100, 1)
    else:  # a row lies in pieces all over the file
        with pytest.raises(UsageError, match='Lower --num_examples, or save'):
            arrays.load_images(path, **few)


def test_load_refuses_an_encrypted_archive(tmp_path):
    path = save(tmp_path, images=IMAGES)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        content[content.index(signature) + offset] |= 1  # the flag of encryption
    path.write_bytes(content)
    refused(path, 'encrypted')


def test_load_refuses_an_archive_of_image_files(tmp_path):
    path = tmp_path / 'faces.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('faces/1.png', b'PNG')
    refused(path, 'holds no arrays')


def test_load_never_unpickles(tmp_path):
    path = tmp_path / 'data.npy'
    np.save(path, np.array([IMAGES, None], object), allow_pickle=True)
    refused(path, 'object', 'no numbers')
    save(tmp_path, images=IMAGES, metadata=np.array(dict(title='dSprites'), object))
    assert data.load(config(tmp_path / 'data.npz')).spec.train_size == 36


@pytest.mark.parametrize('name', ['data.npz', 'data.npy', 'data.pt', 'data'])
def test_load_refuses_a_file_of_another_type(tmp_path, name):
    path = tmp_path / name
    for content in (b'<!DOCTYPE html>', b'', b'\x80\x04\x95pickle'):
        path.write_bytes(content)
        refused(path, 'not a readable .npy or .npz', 'numpy.savez')


@pytest.mark.parametrize('kind', ['npy', 'npz'])
def test_load_reads_files_by_content(tmp_path, kind):
    path = save_one(tmp_path, IMAGES) if kind == 'npy' else save(tmp_path, images=IMAGES)
    np.testing.assert_array_equal(to_score(path.rename(tmp_path / 'images')), IMAGES[ORDER])


def test_load_refuses_a_truncated_archive(tmp_path):
    path = save(tmp_path, images=IMAGES)
    path.write_bytes(path.read_bytes()[:-50])
    refused(path, 'not a readable .npy or .npz', 'numpy.savez')


def test_load_refuses_flipped_bits(tmp_path):
    path = tmp_path / 'data.npz'
    np.savez(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused(path, 'not a readable .npy or .npz', 'numpy.savez')


def test_load_images_refuses_a_data_set(tmp_path):
    path = save(tmp_path, x_train=IMAGES, x_test=IMAGES)
    with pytest.raises(MissingDataError, match='holds a data set .* the only array'):
        to_score(path)


def pack(path, content, *, size=None, compression=zipfile.ZIP_DEFLATED, name='images'):
    """Writes an .npz file with one entry, which claims to have `size` bytes."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr(f'{name}.npy', content)
    if size is not None:
        packed = bytearray(path.read_bytes())
        start = packed.index(b'PK\x01\x02') + 24  # the size in the table of contents
        packed[start : start + 4] = struct.pack('<I', size)
        path.write_bytes(packed)


def test_load_refuses_a_small_file_that_unpacks_to_a_large_one(tmp_path):
    path = tmp_path / 'bomb.npz'
    pack(path, header((20_000, 64, 64)) + bytes(20_000 * 64 * 64))
    assert path.stat().st_size < 100_000
    refused(path, 'unpack to 81920000, too many')
    pack(path, header((500_000, 64, 64)), size=2**31)  # the size is a lie
    refused(path, 'unpack to 2048000000, too many')


@pytest.mark.parametrize('compression', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_load_refuses_other_compressions_than_of_numpy(tmp_path, compression):
    """zipfile unpacks them in one piece, whatever its size."""
    path = tmp_path / 'data.npz'
    pack(path, header((40, 5, 5)) + bytes(1000), compression=compression)
    refused(path, 'compressed in another way')


def test_load_refuses_a_header_of_many_bytes(tmp_path):
    path = tmp_path / 'data.npz'
    content = b'\x93NUMPY\x02\x00' + struct.pack('<I', 2**31) + b'{' * 10**6
    pack(path, content)
    refused(path, 'not a readable .npy or .npz file')


def test_load_refuses_a_table_of_many_entries(tmp_path):
    path = tmp_path / 'data.npz'
    with zipfile.ZipFile(path, 'w') as archive:
        for i in range(20_000):
            archive.writestr(f'{i}.npy', b'')
    refused(path, 'a header or a table of more than')


@pytest.mark.parametrize('kind', ['npy', 'npz'])
def test_load_refuses_more_examples_than_can_be_meant(tmp_path, kind):
    path = tmp_path / f'data.{kind}'
    start = header((2**24 + 1, 4, 4))
    if kind == 'npz':
        pack(path, start, size=2**30)
    else:
        path.write_bytes(start)
        os.truncate(path, 2**30)  # without content on the disk
    for read in (to_score, lambda path: data.load(config(path))):
        with pytest.raises(MissingDataError, match='more than 16777216 examples'):
            read(path)


@pytest.mark.parametrize('largest', [2**31, 2**64 - 1])
def test_load_refuses_classes_that_cannot_be_meant(tmp_path, largest):
    labels = np.full(40, largest, np.uint64)
    refused(save(tmp_path, x_train=IMAGES, y_train=labels), 'y_train', '< 2147483648')


@pytest.mark.parametrize('dtype', ['>u1', '>i2', '>f4', '>f8'])
def test_load_reads_big_endian_and_fortran_order(tmp_path, dtype):
    stored = np.asfortranarray(IMAGES.astype(dtype))
    path = save(tmp_path, images=stored, labels=LABELS.astype('>i8'))
    dataset = data.load(config(path, value_range='0..255' if dtype != '>u1' else None))
    images = {image.tobytes() for image in IMAGES}
    assert {image.tobytes() for image in dataset.train.x} <= images
    assert dataset.spec.num_classes == 4


@pytest.mark.parametrize('target', ['pipe', '/dev/zero'])
def test_load_refuses_files_without_an_end(tmp_path, target):
    path = tmp_path / 'data.npz'
    if target == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with pytest.raises(MissingDataError, match='not a regular file'):
        to_score(path)


def test_load_shows_a_short_name_in_one_line(tmp_path):
    path = tmp_path / 'data.npz'
    pack(path, header((40, 5, 5, 5)) + bytes(5000), name='\x1b[31m' + 'x' * 60_000)
    refused(path, 'another shape than images', "'\\x1b[31mxxx")
