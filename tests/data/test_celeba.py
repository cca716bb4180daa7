import pathlib
import shutil
import struct
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data.celeba import ATTRIBUTES
from flexae_tf.errors import MissingDataError
from flexae_tf.metrics.pixels import nearest_images
from tests.data import faces
from tests.data.faces import pack, write_jpeg

PARTS = [0, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 2]  # of images 1 to 12: 0 train, 1 validation, 2 test
TRAIN = [1, 4, 5, 6, 9, 10, 11]
TEST = [2, 7, 12]


def grey(number):
    return np.full([218, 178, 3], 20 * number, np.uint8)


def has(number, attribute):
    return (number * 7 + attribute) % 3 == 0


@pytest.fixture
def official(tmp_path):
    """Returns a folder with the three official files, images unpacked; image i has grey 20 i."""
    folder = tmp_path / 'faces'
    numbers = np.arange(1, 13)
    faces.write_files(folder, map(grey, numbers), PARTS, has(numbers[:, None], np.arange(40)))
    path = folder / 'list_eval_partition.txt'
    path.write_text(''.join(reversed(path.read_text().splitlines(keepends=True))))  # any order
    return folder


def load(folder, **options):
    options = dict(batch_size=2, validation_examples=2) | options
    return data.load(TrainConfig(dataset='celeba', data_dir=str(folder), **options))


def check(dataset):
    """Checks that every image is in its official part with its own attributes."""
    numbers = []
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.x.shape == (len(split), 64, 64, 3) and split.x.dtype == np.uint8
        assert split.attributes.shape == (len(split), 40) and split.attributes.dtype == bool
        shades = split.x[:, 30, 30, 0]
        assert (split.x == shades[:, None, None, None]).all()
        for shade, row in zip(shades, split.attributes, strict=True):
            assert row.tolist() == [has(int(shade) // 20, attribute) for attribute in range(40)]
        numbers.append((shades // 20).tolist())
    assert sorted(numbers[0] + numbers[1]) == TRAIN and sorted(numbers[2]) == TEST
    assert dataset.spec.attributes == ATTRIBUTES
    assert (dataset.spec.train_size, dataset.spec.test_size) == (7, 3)


def test_load_reads_drawn_faces_from_folder_and_archive(tmp_path, capsys):
    folders = [tmp_path / 'unpacked', tmp_path / 'packed']
    for folder, flags in zip(folders, ([], ['--zip']), strict=True):
        faces.main([str(folder), '--num=40', '--seed=3', *flags])
    images, lists = 'img_align_celeba', ['list_attr_celeba.txt', 'list_eval_partition.txt']
    assert [sorted(p.name for p in folder.iterdir()) for folder in folders] == [
        [images, *lists],
        [f'{images}.zip', *lists],
    ]
    unpacked, packed = map(load, folders)
    codes = faces.sample(40, seed=3)
    drawn = faces.small(codes)
    numbers = []
    for name in ('train', 'validation', 'test'):
        split, other = getattr(unpacked, name), getattr(packed, name)
        np.testing.assert_array_equal(split.x, other.x)
        np.testing.assert_array_equal(split.attributes, other.attributes)
        found = nearest_images(split.x, drawn, num=1)[:, 0]
        assert np.abs(split.x - drawn[found].astype(int)).max() < 12  # JPEG
        np.testing.assert_array_equal(split.attributes, faces.attributes_of(codes[found]))
        numbers.append(found.tolist())
    assert sorted(numbers[0] + numbers[1]) == list(range(32)) and numbers[2] == [36, 37, 38, 39]


@pytest.mark.parametrize(
    ('flags', 'words'),
    [(['--num=19'], '--num=19: too few'), ([], 'cannot be written (File exists). Choose')],
)
def test_faces_refuses_few_faces_and_a_used_folder(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit):
        faces.main([str(tmp_path), *flags])
    assert words in capsys.readouterr().err


def test_faces_have_independent_attributes_that_are_measured():
    codes = faces.sample(400)
    np.testing.assert_array_equal(faces.sample(3), codes[:3])
    assert not np.array_equal(faces.sample(3, seed=1), codes[:3])
    assert len(np.unique(codes[64:128, :6], axis=0)) == 64
    assert np.abs(np.corrcoef(codes.T) - np.eye(15)).max() < 0.2
    codes = codes[:8]
    for flipped in (codes, *(faces.flip(codes, name) for name in faces.DRAWN)):
        measured = faces.presence(faces.small(flipped), codes)
        np.testing.assert_allclose(measured, flipped[:, :6], atol=1e-9)


def to_csv(path, header):
    """Replaces an official list by Kaggle's: header row, separated by commas."""
    rows = [line.split() for line in path.read_text().splitlines() if '.jpg' in line]
    lines = [','.join(row) for row in (['image_id', *header], *rows)]
    path.with_suffix('.csv').write_text('\n'.join(lines) + '\n')
    path.unlink()


def as_is(folder):
    """Folder of images and .txt lists."""
    return folder


def as_kaggle(folder):
    """Nested folder and .csv lists."""
    (folder / 'img_align_celeba').rename(folder / 'inner')
    (folder / 'img_align_celeba').mkdir()
    (folder / 'inner').rename(folder / 'img_align_celeba' / 'img_align_celeba')
    to_csv(folder / 'list_attr_celeba.txt', ATTRIBUTES)
    to_csv(folder / 'list_eval_partition.txt', ['partition'])
    return folder


def as_kaggle_download(folder):
    """The archive of Kaggle, not unpacked."""
    as_kaggle(folder)
    archive = shutil.make_archive(str(folder.parent / 'archive'), 'zip', folder)
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.move(archive, folder)
    return folder


def as_google_drive(folder):
    """Img, Anno and Eval, with the archive of the images."""
    pack(folder)
    for name, inside in (('img', 'Img'), ('list_attr', 'Anno'), ('list_eval', 'Eval')):
        (folder / 'CelebA' / inside).mkdir(parents=True)
        for path in folder.glob(f'{name}*'):
            path.rename(folder / 'CelebA' / inside / path.name)
    return folder


def as_torchvision(folder):
    """`--data_dir` is the parent of the folder celeba, which is a link."""
    elsewhere = folder.rename(folder.parent / 'elsewhere')
    folder.mkdir()
    (folder / 'celeba').symlink_to(elsewhere)
    return folder


def as_flat(folder):
    """The images beside the lists."""
    for path in (folder / 'img_align_celeba').iterdir():
        path.rename(folder / path.name)
    return folder


def with_system_files(folder):
    """Files that systems add to folders."""
    images = folder / 'img_align_celeba'
    for name in ('._000001.jpg', '.DS_Store', 'Thumbs.db', 'desktop.ini'):
        (images / name).write_bytes(b'no image')
    for name in ('.Trash/img_align_celeba', '__MACOSX/img_align_celeba', '.ipynb_checkpoints'):
        (folder / name).mkdir(parents=True)
        for number in (1, 13):
            (folder / name / f'0000{number:02}.jpg').write_bytes(b'no image')
    (folder / '._list_eval_partition.txt').write_bytes(b'\0')
    return folder


def packed_with_system_files(folder):
    """An archive that macOS made of images and lists."""
    with_system_files(folder)
    archive = shutil.make_archive(str(folder.parent / 'img_align_celeba'), 'zip', folder)
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.move(archive, folder)
    return folder


LAYOUTS = [
    *(as_is, as_kaggle_download, as_google_drive, as_torchvision, as_flat),
    *(with_system_files, packed_with_system_files),
]


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.__name__)
def test_load_finds_the_files_in_every_layout(official, layout):
    dataset = load(layout(official))
    check(dataset)
    assert (dataset.test.x[:, 0, 0, 0] // 20).tolist() == TEST


def test_load_prefers_the_more_complete_images(official):
    """A zip beside a folder that was unpacked in part, and images of other data sets."""
    images = official / 'img_align_celeba'
    shutil.copytree(images, official / 'copy')
    pack(official)
    images.mkdir()
    (official / 'copy' / '000001.jpg').rename(images / '000001.jpg')
    shutil.rmtree(official / 'copy')
    write_jpeg(official / 'img_celeba' / '000002.jpg', np.zeros([500, 400, 3], np.uint8))
    check(load(official))


def test_tensorflow_datasets_and_files_have_equal_pixels(serve, official, tmp_path):
    """Both are decoded by this package: JPEG decoders differ by their transform."""
    image = np.random.RandomState(0).randint(0, 256, [218, 178, 3]).astype(np.uint8)
    files = sorted((official / 'img_align_celeba').iterdir())
    for path in files:
        write_jpeg(path, image)
    folder = tmp_path / 'prepared'
    info = tfds.builder('celeb_a', data_dir=str(folder)).info.features
    labels = {
        name: dict.fromkeys(info[name], 0) for name in ('attributes', 'landmarks', 'identity')
    }
    served = [dict(image=str(files[0]), **labels)] * 4
    serve('celeb_a', train=served, validation=served, test=served)
    ours, theirs = load(official), load(folder, download=True)
    np.testing.assert_array_equal(ours.test.x[0], theirs.test.x[0])


def test_load_prefers_prepared_data_to_files_that_are_incomplete(official, serve):
    """tensorflow-datasets may leave extracted images in its folder."""
    info = tfds.builder('celeb_a', data_dir=str(official)).info.features
    names = ('attributes', 'landmarks', 'identity')
    labels = {name: dict.fromkeys(info[name], 0) for name in names}
    served = [dict(image=grey(5), **labels)] * 5
    serve('celeb_a', train=served, validation=served, test=served)
    (official / 'list_attr_celeba.txt').rename(official / 'aside')
    with pytest.raises(MissingDataError, match='but no list_attr_celeba.txt or .csv'):
        load(official, download=True)
    shutil.move(official / 'img_align_celeba', official.parent)
    assert len(load(official, download=True).test) == 5
    shutil.move(official.parent / 'img_align_celeba', official)
    assert len(load(official).test) == 5
    (official / 'aside').rename(official / 'list_attr_celeba.txt')
    check(load(official))


def test_load_reads_tensorflow_datasets(serve, tmp_path):
    def examples(numbers):
        info = tfds.builder('celeb_a', data_dir=str(tmp_path)).info.features
        zeros = {name: dict.fromkeys(info[name], 0) for name in ('landmarks', 'identity')}
        for number in numbers:
            attributes = {a: has(number, i) for i, a in enumerate(ATTRIBUTES)}
            yield dict(image=grey(number), attributes=attributes, **zeros)

    serve('celeb_a', train=examples(TRAIN), validation=examples([3, 8]), test=examples(TEST))
    check(load(tmp_path, download=True))


def test_crop_is_central_and_has_the_requested_size(official):
    """The central 140 x 140 of 178 x 218 are columns 19 to 158 and rows 39 to 178."""
    image = np.full([218, 178, 3], 255, np.uint8)
    image[39:179, 19:159] = 80
    for path in (official / 'img_align_celeba').iterdir():
        write_jpeg(path, image)
    inside = load(official).test.x[0].astype(int)
    assert abs(inside - 80).max() < 10  # not 0: JPEG rings beside the frame
    wider = load(official, celeba_crop=146).test.x[0].astype(int)
    for edge in (wider[0], wider[-1], wider[:, 0], wider[:, -1]):
        assert edge.min() > 200


def refused(folder, *words, **options):
    with pytest.raises(MissingDataError) as caught:
        load(folder, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 3 and '\n' not in message
    assert all(word in message for word in words), message


def test_load_lists_the_files_and_folders_of_missing_data(tmp_path, monkeypatch):
    remedies = ['img_align_celeba.zip', 'list_eval_partition.txt', 'list_attr_celeba.txt']
    refused(tmp_path, '--download', str(tmp_path), *remedies)

    def quota(self):
        raise RuntimeError('Failed to get url https://drive.google.com/uc?id=1. HTTP code: 404.')

    monkeypatch.setattr(tfds.builder_cls('celeb_a'), 'url_infos', {})
    monkeypatch.setattr(tfds.builder_cls('celeb_a'), 'download_and_prepare', quota)
    refused(tmp_path, 'download failed', 'drive.google', str(tmp_path), *remedies, download=True)


@pytest.mark.parametrize(
    'removed, words',
    [
        (['list_attr'], ['12 images of img_align_celeba, list_eval_partition.txt, but no list_a']),
        (
            ['list_attr', 'list_eval'],
            ['but no list_eval_partition.txt or .csv and no list_attr_celeba.txt or .csv'],
        ),
        (['img_'], ['list_attr_celeba.txt, but no img_align_celeba.zip. Add']),
        (['img_', 'list_attr', 'list_eval'], ['img_align_celeba.zip', 'which holds other.txt']),
    ],
)
def test_load_names_what_is_there_and_all_that_is_missing(official, removed, words):
    for path in list(official.iterdir()):
        if path.name.startswith(tuple(removed)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (official / 'other.txt').touch()
    refused(official, str(official), *words)


def test_load_refuses_a_missing_image(official):
    (official / 'img_align_celeba' / '000009.jpg').unlink()
    refused(official, '11 images', '12 in list_eval_partition.txt', '000009.jpg', 'Download')


def test_load_refuses_a_truncated_partition(official):
    path = official / 'list_eval_partition.txt'
    path.write_text('\n'.join(path.read_text().splitlines()[:-1]))
    refused(official, '11 in list_eval_partition.txt', '000001.jpg', 'Download')


def test_load_refuses_a_partition_without_test_images(official):
    lines = [f'{number:06}.jpg 0' for number in range(1, 13)]
    (official / 'list_eval_partition.txt').write_text('\n'.join(lines))
    refused(official, 'list_eval_partition.txt: part 2 is empty', 'Download it again')
    (official / 'list_eval_partition.txt').write_text('\n'.join([*lines, '000099.jpg 3']))
    refused(official, 'the values of 000099.jpg are not [0, 1, 2]', 'Download it again')


@pytest.mark.parametrize(
    'line',
    [
        *('000013.jpg 1 -1', '000013.jpg one', ' '.join(['Age'] * 40)),
        '000013.jpg ' + ' '.join(['1'] * 39 + ['0']),
        '000013.jpg ' + ' '.join(['1'] * 39 + ['9' * 30]),
    ],
)
def test_load_refuses_a_corrupt_table(official, line):
    with (official / 'list_attr_celeba.txt').open('a') as file:
        file.write(line)
    refused(official, 'list_attr_celeba.txt', 'Download it again')


def test_load_refuses_a_corrupt_archive(official):
    pack(official)
    path = official / 'img_align_celeba.zip'
    path.write_bytes(path.read_bytes()[:-30])
    refused(official, 'img_align_celeba.zip: corrupt', 'Download it again')


def test_load_refuses_a_corrupt_table_in_an_archive(official):
    path = pathlib.Path(shutil.make_archive(str(official.parent / 'archive'), 'zip', official))
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith('list_attr_celeba.txt'))
        start = archive.getinfo(name).header_offset
    content = bytearray(path.read_bytes())
    start += 30 + sum(struct.unpack('<2H', content[start + 26 : start + 30]))  # after the header
    content[start] = 7  # a block of a type that does not exist
    shutil.rmtree(official)
    official.mkdir()
    (official / 'archive.zip').write_bytes(content)
    refused(official, 'list_attr_celeba.txt: corrupt', 'invalid block type', 'Download it again')


@pytest.mark.parametrize('packed', [False, True])
def test_load_refuses_a_corrupt_image(official, packed):
    (official / 'img_align_celeba' / '000010.jpg').write_bytes(b'not an image')
    if packed:
        pack(official)
    refused(official, '000010.jpg: not a readable', '178x218', 'replace it')


def test_load_refuses_an_image_of_another_size(official):
    write_jpeg(official / 'img_align_celeba' / '000002.jpg', np.zeros([178, 218, 3], np.uint8))
    refused(official, '000002.jpg', '178x218')
