import os

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import image_folder, memory
from flexae_tf.data.dataset import Purpose, fixed_permutation
from flexae_tf.errors import MissingDataError, UsageError
from tests.data.faces import write_jpeg


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(image).numpy())


def grey(value, height=9, width=12):
    return np.full([height, width, 3], value, np.uint8)


def load(path, **options):
    options = dict(batch_size=2, image_size=8) | options
    return data.load(TrainConfig(dataset='folder', data_dir=str(path), **options))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path_factory, monkeypatch):
    """Lists of unreadable images are written to the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp('cwd'))


@pytest.fixture
def folder(tmp_path):
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


def test_load_refuses_more_images_than_memory(folder, monkeypatch):
    monkeypatch.setattr(memory, 'available', lambda: 10**9)
    with pytest.raises(UsageError, match='30 images of 4096x4096: 2.8 GiB of memory'):
        load(folder, image_size=4096)


def test_load_resizes_to_64_by_default(folder):
    assert load(folder, image_size=None).train.x.shape[1:] == (64, 64, 3)


def test_load_converts_grey_images_to_colour(tmp_path):
    for i in range(6):
        write_png(tmp_path / f'{i}.png', np.full([8, 8, 1 + 2 * (i % 2)], 50, np.uint8))
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
    refused(tmp_path, str(tmp_path), 'no images (JPEG, PNG', '--data_dir')


@pytest.mark.parametrize(
    'content, problem',
    [
        (b'', 'an empty file'),
        (b'not an image', 'not an image'),
        (b'\0\0\0\x18ftypheic', 'a HEIC image'),
        ('truncated', 'a corrupt or truncated image'),
    ],
)
def test_load_names_an_unreadable_image(folder, content, problem):
    path = folder / 'a' / '13.JPG'
    path.write_bytes(path.read_bytes()[:200] if content == 'truncated' else content)
    refused(folder, f'{path}: {problem}, listed in', 'remove it, or use --skip_bad_images.')


def test_load_lists_all_unreadable_images_in_the_workdir(folder, tmp_path):
    for i in range(12):
        (folder / 'a' / f'x{i:02}.png').write_bytes(b'')
    workdir = tmp_path / 'runs' / 'new'
    with pytest.raises(MissingDataError, match=r'^12 files: .*, \.\.\., listed in') as error:
        load(folder, workdir=str(workdir))
    assert str(error.value).count('an empty file') == 10
    assert (workdir / 'bad_images.txt').read_text() == ''.join(
        f'{folder}/a/x{i:02}.png\tan empty file\n' for i in range(12)
    )


def test_load_skips_bad_images_as_if_they_were_removed(folder, capsys):
    bad = [folder / 'a' / '00.png', folder / 'a' / '13.JPG', folder / 'b' / 'c' / '29.jpeg']
    for path, content in zip(bad, (b'', b'\xff\xd8\xff', b'text'), strict=True):
        path.write_bytes(content)
    skipped = load(folder, skip_bad_images=True)
    assert f'3 unreadable images of {folder} skipped, listed in' in capsys.readouterr().out
    for path in bad:
        path.unlink()
    removed = load(folder)
    for split in ('train', 'validation', 'test'):
        np.testing.assert_array_equal(getattr(skipped, split).x, getattr(removed, split).x)


def test_load_refuses_to_skip_all_images(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    with pytest.raises(MissingDataError, match='a.png: an empty file'):
        load(tmp_path, skip_bad_images=True)


def test_skipping_bad_images_is_part_of_the_identity():
    config = TrainConfig(dataset='folder', skip_bad_images=True, channels=1)
    assert config.changed() == {'dataset': 'folder', 'skip_bad_images': True, 'channels': 1}


@pytest.mark.parametrize('options', [{'channels': 2}, {'dataset': 'digits', 'channels': 1}])
def test_describe_refuses_channels(tmp_path, options):
    with pytest.raises(UsageError, match='--channels='):
        data.describe(TrainConfig(**dict(dataset='folder', data_dir=str(tmp_path)) | options))


@pytest.mark.parametrize(
    'options', [{'channels': 1}, {'skip_bad_images': True}, {'converted_dir': 'converted'}]
)
def test_describe_refuses_options_of_folders_for_arrays(tmp_path, options):
    np.save(tmp_path / 'x.npy', np.zeros([9, 8, 8, 3], np.uint8))
    config = TrainConfig(dataset='folder', data_dir=str(tmp_path / 'x.npy'), **options)
    with pytest.raises(UsageError, match=r'--\w+=\w+: .*x.npy is not a folder of images'):
        data.describe(config)


def test_load_keeps_grey_images_grey(folder):
    grey_images, colours = load(folder, channels=1), load(folder)
    assert grey_images.spec.shape == (8, 8, 1)
    np.testing.assert_array_equal(grey_images.train.x, colours.train.x[..., :1])


def test_load_scales_16_bit_images_by_the_bits_that_all_use(tmp_path, capsys):
    for i in range(8):
        write_png(tmp_path / f'{i}.png', np.full([8, 8, 1], 500 * i, np.uint16))
    write_png(tmp_path / '8.png', grey(77, 8, 8))
    dataset = load(tmp_path)
    assert '8 images of 16 bits: values 0 .. 4095 (12 bits)' in capsys.readouterr().out
    shades = np.concatenate([s.x[:, 0, 0, 0] for s in (dataset.train, dataset.validation)])
    shades = sorted([*shades.tolist(), *dataset.test.x[:, 0, 0, 0].tolist()])
    assert shades == sorted([77, *(round(500 * i * 255 / 4095) for i in range(8))])


def shades(split):
    return sorted(split.x[:, 0, 0, 0].tolist())


def test_load_reads_splits_and_classes_from_folders(tmp_path):
    for i in range(12):
        split = ('train', 'train', 'test', 'val')[i % 4]
        write_png(tmp_path / split / 'ab'[i // 4 % 2] / f'{i}.png', grey(i))
    dataset = load(tmp_path)
    assert shades(dataset.train) == [0, 1, 4, 5, 8, 9]
    assert shades(dataset.test) == [2, 6, 10] and shades(dataset.validation) == [3, 7, 11]
    assert (dataset.spec.num_classes, dataset.spec.train_size, dataset.spec.test_size) == (2, 6, 3)
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.labels, split.x[:, 0, 0, 0] // 4 % 2)
    small = load(tmp_path, validation_examples=2, train_examples=4)
    assert len(small.validation) == 2 and len(small.train) == 4
    assert set(shades(small.validation)) < {3, 7, 11}
    with pytest.raises(UsageError, match='--validation_examples=4: the data have 3'):
        load(tmp_path, validation_examples=4)


@pytest.mark.parametrize('name', ['train', 'test'])
def test_load_takes_no_other_images_for_a_split_that_is_unreadable(tmp_path, name):
    for i in range(12):
        write_png(tmp_path / ('train', 'test', 'val')[i % 3] / f'{i}.png', grey(i))
    for path in (tmp_path / name).iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MissingDataError, match=f'no image of its {name} folder is readable'):
        load(tmp_path, skip_bad_images=True)


def test_load_needs_two_validation_images_and_enough_for_classes(tmp_path):
    for i in range(9):
        write_png(
            tmp_path / 'a' / ('val' if i == 8 else 'train' if i % 2 else 'test') / f'{i}.png',
            grey(i),
        )
    with pytest.raises(UsageError, match='1 validation example. Add'):
        load(tmp_path / 'a')
    for i in range(2):
        write_png(tmp_path / 'b' / str(i) / 'x.png', grey(i))
    with pytest.raises(UsageError, match='add data'):
        load(tmp_path / 'b')


def test_load_takes_validation_images_as_test_images_without_others(tmp_path):
    for i in range(12):
        write_png(tmp_path / ('train' if i < 9 else 'val') / f'{i}.png', grey(i))
    dataset = load(tmp_path)
    assert shades(dataset.test) == [9, 10, 11]
    assert sorted(shades(dataset.train) + shades(dataset.validation)) == list(range(9))


def test_load_takes_names_literally(tmp_path, folder):
    before = load(folder)
    away = tmp_path / 'x' / '[a] * ? {b} %s $HOME ü'
    away.parent.mkdir()
    for name in ('a', 'b'):
        away.mkdir(exist_ok=True)
        (folder / name).rename(away / name)
    np.testing.assert_array_equal(load(away).train.x, before.train.x)


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
        images, _ = image_folder.load_unresized(folder, flag='--fake', max_images=num)
        assert images.shape == (min(num, 30), 9, 12, 3) and images.dtype == np.uint8
        assert images[:, 0, 0, 0].tolist() == [8 * i for i in order[:num]]


def test_load_unresized_refuses_images_of_different_sizes(folder):
    write_png(folder / 'a' / '00.png', grey(0, height=10))
    with pytest.raises(MissingDataError, match=r'12x(9|10), but .* is 12x(9|10)\. Resize'):
        image_folder.load_unresized(folder, flag='--fake', max_images=30)
    images, _ = image_folder.load_unresized(folder, flag='--fake', max_images=30, resize_to=8)
    assert images.shape == (30, 8, 8, 3)
    order = fixed_permutation(30, Purpose.EVALUATION)
    assert images[:, 0, 0, 0].tolist() == [8 * i for i in order]


def test_load_unresized_replaces_bad_images(folder):
    order = fixed_permutation(30, Purpose.EVALUATION)
    paths = sorted(path for path in folder.rglob('*') if path.suffix in ('.png', '.JPG', '.jpeg'))
    for k in (0, 2):
        paths[order[k]].write_bytes(paths[order[k]].read_bytes()[:-4])
    images, _ = image_folder.load_unresized(
        folder, flag='--fake', max_images=4, skip_bad_images=True
    )
    assert images[:, 0, 0, 0].tolist() == [8 * order[k] for k in (4, 1, 5, 3)]
    images, _ = image_folder.load_unresized(
        folder, flag='--fake', max_images=30, skip_bad_images=True
    )
    assert len(images) == 28
    with pytest.raises(MissingDataError, match=r'2 files: .*bad_images_fake\.txt\. Convert'):
        image_folder.load_unresized(folder, flag='--fake', max_images=4)
