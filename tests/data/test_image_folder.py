import os

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import image_folder
from flexae_tf.data.dataset import Purpose, fixed_permutation
from flexae_tf.errors import MissingDataError, UsageError


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(image).numpy())


def grey(value, height=9, width=12):
    return np.full([height, width, 3], value, np.uint8)


def load(path, **options):
    options = dict(batch_size=2, image_size=8) | options
    return data.load(TrainConfig(dataset='folder', data_dir=str(path), **options))


@pytest.fixture
def folder(tmp_path, write_jpeg):
    """Returns a folder of 30 images, image i of grey 8 i, in two folders with three suffixes."""
    for i in range(30):
        name = f'{i:02}' + ('.png', '.JPG', '.jpeg')[i % 3]
        path = tmp_path / ('a' if i < 20 else 'b/c') / name
        (write_png if i % 3 == 0 else write_jpeg)(path, grey(8 * i))
    (tmp_path / 'a' / 'notes.txt').write_text('not an image')
    return tmp_path


def test_load_splits_a_folder(folder):
    config = TrainConfig(dataset='folder', data_dir=str(folder), batch_size=2, image_size=8)
    spec = data.describe(config)
    assert (spec.shape, spec.train_size, spec.test_size) == ((8, 8, 3), None, None)
    dataset = data.load(config)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (25, 2, 3)
    assert (dataset.spec.train_size, dataset.spec.test_size) == (27, 3)
    shades = []
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.x.shape == (len(split), 8, 8, 3) and split.x.dtype == np.uint8
        assert (split.x == split.x[:, :1, :1, :1]).all()
        shades.extend(split.x[:, 0, 0, 0].tolist())
    assert sorted(shades) == [8 * i for i in range(30)]
    assert shades[-3:] == [
        8 * i for i in fixed_permutation(30, Purpose.TEST)[:3]
    ]  # in the order of paths
    again = load(folder, seed=1)
    np.testing.assert_array_equal(again.test.x, dataset.test.x)
    np.testing.assert_array_equal(again.train.x, dataset.train.x)


def test_load_ignores_the_files_of_runs(folder, capsys):
    before = load(folder)
    assert f'30 images in {folder}; 1 other files ignored' in capsys.readouterr().out
    run = folder / 'a' / 'run'
    write_png(run / 'samples' / 'fakes_000000005.png', grey(7))
    (run / 'checkpoints').mkdir()
    (run / 'config.json').write_text('{}')
    np.testing.assert_array_equal(load(folder).train.x, before.train.x)


def test_load_reads_files_with_names_that_are_not_utf8(folder):
    before = load(folder)
    path = folder / 'a' / '00.png'
    path.rename(os.fsdecode(os.fsencode(folder) + b'/a/00\xff.png'))
    np.testing.assert_array_equal(
        np.sort(load(folder).train.x.ravel())[-100:], np.sort(before.train.x.ravel())[-100:]
    )


def test_load_refuses_more_images_than_memory(folder):
    with pytest.raises(UsageError, match='30 images of 1000000x1000000: .* GiB of memory'):
        load(folder, image_size=1_000_000)


def test_load_resizes_to_64_by_default(folder):
    assert load(folder, image_size=None).train.x.shape[1:] == (64, 64, 3)


def test_load_converts_grey_and_transparent_images_to_colour(tmp_path):
    for i in range(6):
        write_png(tmp_path / f'{i}.png', np.full([8, 8, (1, 2, 4)[i % 3]], 50, np.uint8))
    dataset = load(tmp_path)
    assert (dataset.train.x == 50).all() and dataset.train.x.shape[-1] == 3


def refused(path, *words, error=MissingDataError):
    with pytest.raises(error) as caught:
        load(path)
    message = str(caught.value)
    assert caught.value.exit_code == error.exit_code and '\n' not in message
    assert all(word in message for word in words), message


def test_describe_needs_data_dir():
    with pytest.raises(UsageError, match='--data_dir: needed with --dataset=folder'):
        data.describe(TrainConfig(dataset='folder'))


def test_load_refuses_a_missing_path(tmp_path):
    refused(tmp_path / 'nowhere', 'nowhere', 'does not exist', '--data_dir')


def test_load_refuses_other_file_types(tmp_path):
    path = tmp_path / 'faces.zip'
    path.write_bytes(b'')
    refused(path, 'faces.zip', 'give a folder of images')


def test_load_refuses_a_folder_without_images(tmp_path):
    (tmp_path / 'readme.md').write_text('')
    refused(tmp_path, str(tmp_path), '.png', '--data_dir')


@pytest.mark.parametrize('content', [b'', b'not an image', 'truncated'])
def test_load_names_an_unreadable_image(folder, content):
    path = folder / 'a' / '13.JPG'
    path.write_bytes(path.read_bytes()[:200] if content == 'truncated' else content)
    refused(folder, str(path), 'Remove or replace')


def test_load_names_all_unreadable_images_at_once(folder):
    for name in ('a/03.png', 'a/13.JPG', 'b/c/29.jpeg'):
        (folder / name).write_bytes(b'not an image')
    refused(folder, f'3 files: {folder}/a/03.png, {folder}/a/13.JPG, {folder}/b/c/29.jpeg: not a')
    for i in range(12):
        (folder / f'{i}.png').write_bytes(b'')
    with pytest.raises(MissingDataError, match='15 files: .*, ...: not a') as error:
        load(folder)
    assert str(error.value).count('.png') == 10


def test_load_follows_links_to_folders_once(folder, tmp_path_factory):
    before = load(folder)
    away = tmp_path_factory.mktemp('away') / 'b'
    (folder / 'b').rename(away)
    (folder / 'b').symlink_to(away)
    (folder / 'back').symlink_to(folder)
    (folder / 'c').symlink_to(away)
    np.testing.assert_array_equal(load(folder).train.x, before.train.x)


def test_load_refuses_too_few_images(tmp_path):
    for i in range(4):
        write_png(tmp_path / f'{i}.png', grey(i))
    refused(tmp_path, '2 training examples', 'add data', error=UsageError)


def test_load_unresized_reads_a_fixed_random_choice(folder):
    order = fixed_permutation(30, Purpose.EVALUATION)
    for num in (4, 30, 100):
        images = image_folder.load_unresized(folder, max_images=num)
        assert images.shape == (min(num, 30), 9, 12, 3) and images.dtype == np.uint8
        assert images[:, 0, 0, 0].tolist() == [8 * i for i in order[:num]]


def test_load_unresized_refuses_images_of_different_sizes(folder):
    write_png(folder / 'a' / '00.png', grey(0, height=10))
    with pytest.raises(MissingDataError, match=r'12x(9|10), but .* is 12x(9|10)\. Resize all'):
        image_folder.load_unresized(folder, max_images=30)
