import numpy as np
import pytest

from flexae_tf.data import Purpose, fixed_permutation
from flexae_tf.data.decoding import DECODER, crop_and_resize
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import image_files
from flexae_tf.image_grid import write_png

IMAGES = np.random.RandomState(0).randint(0, 256, [20, 9, 7, 3]).astype(np.uint8)
ORDER = fixed_permutation(20, Purpose.EVALUATION)


def load(path, **options):
    return image_files.load(path, flag='--fake', **dict(max_images=99) | options)


@pytest.fixture(params=['folder', 'npy', 'npz', 'floats'])
def stored(request, tmp_path):
    """Returns a path that holds `IMAGES`, and the options to load it."""
    if request.param == 'folder':
        for i, image in enumerate(IMAGES):
            write_png(tmp_path / f'{i:02}.png', image)
        return tmp_path, {}
    path = tmp_path / 'images.npy'
    if request.param == 'npy':
        np.save(path, IMAGES)
    elif request.param == 'floats':
        np.save(path, IMAGES / np.float32(127.5) - 1)
        return path, dict(value_range='-1..1')
    else:
        path = tmp_path / 'images.npz'
        np.savez(path, arr_0=IMAGES)
    return path, {}


def test_load_returns_equal_images_of_every_kind_of_path(stored):
    path, options = stored
    files = load(path, **options)
    np.testing.assert_array_equal(files.x, IMAGES[ORDER])
    assert files.decoder == (DECODER if path.is_dir() else None) and files.resize_to is None
    np.testing.assert_array_equal(load(path, max_images=6, **options).x, IMAGES[ORDER[:6]])


def test_load_resizes_every_kind_of_path_equally(stored):
    path, options = stored
    files = load(path, resize_to=5, **options)
    np.testing.assert_array_equal(files.x, crop_and_resize(IMAGES[ORDER], size=5))
    assert files.resize_to == 'centre_antialiased_5'


def test_load_names_the_flag_of_a_missing_path(tmp_path):
    with pytest.raises(MissingDataError, match='nowhere: does not exist. Correct --fake'):
        load(tmp_path / 'nowhere')


def test_load_vectors(tmp_path):
    x = np.random.RandomState(0).rand(20, 9)
    np.savez(tmp_path / 'x.npz', images=x, latents=x[:, :2])
    np.save(tmp_path / 'y.npy', x.astype(np.float32))
    for name in ('x.npz', 'y.npy'):
        vectors = image_files.load_vectors(tmp_path / name, flag='--fake', max_vectors=12)
        np.testing.assert_array_equal(vectors, x[ORDER[:12]].astype(np.float32))
        assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    'x, words',
    [
        (IMAGES, 'are not vectors'),
        (np.zeros([0, 3]), 'are not vectors'),
        (np.array([['a', 'b']]), 'are not vectors'),
        (np.array([[1.0, np.nan]]), 'not finite'),
    ],
)
def test_load_vectors_refuses_other_arrays(tmp_path, x, words):
    np.save(tmp_path / 'x.npy', x)
    with pytest.raises(MissingDataError, match=words):
        image_files.load_vectors(tmp_path / 'x.npy', flag='--fake', max_vectors=12)
    with pytest.raises(MissingDataError, match='not a file. Correct --fake'):
        image_files.load_vectors(tmp_path, flag='--fake', max_vectors=12)


def test_check_options_refuses_an_option_that_is_not_used(tmp_path):
    array = tmp_path / 'x.npy'
    for paths, options, words in (
        ([tmp_path, tmp_path], dict(value_range='0..1'), '--value_range=0..1: applies to .npy'),
        ([array, array], dict(skip_bad_images=True), '--skip_bad_images: applies to folders'),
        ([tmp_path, array], dict(value_range='0..1', skip_bad_images=True), None),
    ):
        options = dict(value_range=None, skip_bad_images=False) | options
        if words is None:
            image_files.check_options(paths, **options)
        else:
            with pytest.raises(UsageError, match=words):
                image_files.check_options(paths, **options)
