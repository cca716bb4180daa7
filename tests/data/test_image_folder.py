import os

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import memory
from flexae_tf.data.dataset import Purpose, fixed_permutation
from flexae_tf.data.decoding import crop_and_resize
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
    """30 pictures of grey 8 i, in two folders and three spellings."""
    for i in range(30):
        name = f'{i:02}' + ('.png', '.JPG', '.jpeg')[i % 3]
        path = tmp_path / ('a' if i < 20 else 'b/c') / name
        (write_png if i % 3 == 0 else write_jpeg)(path, grey(8 * i))
    (tmp_path / 'a' / 'notes.txt').write_text('not a picture')
    return tmp_path


def test_folder(folder):
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
    ]  # in order of path
    again = load(folder, seed=1)
    np.testing.assert_array_equal(again.test.x, dataset.test.x)
    np.testing.assert_array_equal(again.train.x, dataset.train.x)


def test_what_runs_leave_in_the_folder_is_no_data(folder, capsys):
    before = load(folder)
    assert f'30 images in {folder}; 1 other files ignored' in capsys.readouterr().out
    run = folder / 'a' / 'run'
    write_png(run / 'samples' / 'fakes_000000005.png', grey(7))
    (run / 'checkpoints').mkdir()
    (run / 'config.json').write_text('{}')
    np.testing.assert_array_equal(load(folder).train.x, before.train.x)


def test_names_need_not_be_text(folder):
    before = load(folder)
    path = folder / 'a' / '00.png'
    path.rename(os.fsdecode(os.fsencode(folder) + b'/a/00\xff.png'))
    np.testing.assert_array_equal(
        np.sort(load(folder).train.x.ravel())[-100:], np.sort(before.train.x.ravel())[-100:]
    )


def test_more_pictures_than_memory_are_refused(folder):
    with pytest.raises(UsageError, match='30 images of 1000000x1000000: .* GiB of memory'):
        load(folder, image_size=1_000_000)


def test_default_size_is_64(folder):
    assert load(folder, image_size=None).train.x.shape[1:] == (64, 64, 3)


def test_grey_and_transparent_pictures(tmp_path):
    for i in range(6):
        write_png(tmp_path / f'{i}.png', np.full([8, 8, (1, 2, 4)[i % 3]], 50, np.uint8))
    dataset = load(tmp_path)
    assert (dataset.train.x == 50).all() and dataset.train.x.shape[-1] == 3


@pytest.mark.parametrize('height, width', [(20, 50), (50, 20), (21, 50)])
def test_crop_is_the_largest_central_square(height, width):
    side = min(height, width)
    image = np.full([height, width, 1], 255, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 10
    assert (crop_and_resize(tf.constant(image), size=10).numpy() == 10).all()


def test_shrinking_is_antialiased():
    """The triangle filter written out: as wide as two pixels of the result."""
    image = np.random.default_rng(0).integers(0, 256, [140, 140, 3], np.uint8)
    scale = 140 / 64
    centres = (np.arange(64) + 0.5) * scale
    distance = np.abs(centres[:, None] - (np.arange(140) + 0.5)) / scale
    weights = np.maximum(0.0, 1.0 - distance)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum('ij,jkc,lk->ilc', weights, image, weights)
    shrunk = crop_and_resize(tf.constant(image), size=64).numpy()
    assert shrunk.dtype == np.uint8
    assert np.abs(shrunk - expected).max() <= 0.51  # rounded to the nearest
    plain = tf.image.resize(image, [64, 64]).numpy()
    assert np.abs(plain - expected).mean() > 10


def test_own_size_is_kept_exactly():
    image = np.random.default_rng(1).integers(0, 256, [8, 8, 3], np.uint8)
    np.testing.assert_array_equal(crop_and_resize(tf.constant(image), size=8), image)


def refused(path, *words, error=MissingDataError):
    with pytest.raises(error) as caught:
        load(path)
    message = str(caught.value)
    assert caught.value.exit_code == error.exit_code and '\n' not in message
    assert all(word in message for word in words), message


def test_no_data_dir():
    with pytest.raises(UsageError, match='--dataset=folder needs --data_dir'):
        data.describe(TrainConfig(dataset='folder'))


def test_absent_path(tmp_path):
    refused(tmp_path / 'nowhere', 'nowhere', 'does not exist', '--data_dir')


def test_neither_folder_nor_npz(tmp_path):
    path = tmp_path / 'faces.zip'
    path.write_bytes(b'')
    refused(path, 'faces.zip', 'folder of images or an .npz')


def test_folder_without_pictures(tmp_path):
    (tmp_path / 'readme.md').write_text('')
    refused(tmp_path, str(tmp_path), '.png', '--data_dir')


@pytest.mark.parametrize('content', [b'', b'no picture', 'cut'])
def test_unreadable_picture_is_named(folder, content):
    path = folder / 'a' / '13.JPG'
    path.write_bytes(path.read_bytes()[:200] if content == 'cut' else content)
    refused(folder, str(path), 'Remove or replace')


def test_all_unreadable_pictures_are_named_at_once(folder):
    for name in ('a/03.png', 'a/13.JPG', 'b/c/29.jpeg'):
        (folder / name).write_bytes(b'no picture')
    refused(folder, f'3 files: {folder}/a/03.png, {folder}/a/13.JPG, {folder}/b/c/29.jpeg: not a')
    for i in range(12):
        (folder / f'{i}.png').write_bytes(b'')
    with pytest.raises(MissingDataError, match='15 files: .*, ...: not a') as error:
        load(folder)
    assert str(error.value).count('.png') == 10


def test_links_to_folders_are_followed_once(folder, tmp_path_factory):
    before = load(folder)
    away = tmp_path_factory.mktemp('away') / 'b'
    (folder / 'b').rename(away)
    (folder / 'b').symlink_to(away)
    (folder / 'back').symlink_to(folder)
    (folder / 'c').symlink_to(away)
    np.testing.assert_array_equal(load(folder).train.x, before.train.x)


def test_what_a_scheduler_allows_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, 'CGROUP_FILE', tmp_path / 'groups')
    monkeypatch.setattr(memory, 'CGROUP_ROOT', tmp_path)
    machine = memory.available()  # there is no file that tells more
    job = tmp_path / 'slurm' / 'job_7' / 'step_0'
    job.mkdir(parents=True)
    (tmp_path / 'groups').write_text('0::/slurm/job_7/step_0\n')
    (job / 'memory.max').write_text('max\n')
    assert memory.available() == machine
    (job.parent / 'memory.max').write_text('3000000\n')
    assert memory.available() == 3_000_000
    memory.check(3_000_000, 'they')
    with pytest.raises(UsageError, match='they: 0.0 GiB of memory needed, 0.0 GiB available'):
        memory.check(3_000_001, 'they')
    (tmp_path / 'groups').write_text('5:cpu:/slurm\n4:memory:/slurm/job_7\n')
    (tmp_path / 'memory' / 'slurm').mkdir(parents=True)
    (tmp_path / 'memory' / 'slurm' / 'memory.limit_in_bytes').write_text('2000000')
    assert memory.available() == 2_000_000


def test_too_few_pictures(tmp_path):
    for i in range(4):
        write_png(tmp_path / f'{i}.png', grey(i))
    refused(tmp_path, '2 training examples', 'add data', error=UsageError)
