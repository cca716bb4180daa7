import shutil
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data.celeba import ATTRIBUTES
from flexae_tf.errors import MissingDataError

# Names and official part (0 train, 1 validation, 2 test), unordered.
PARTS = {f'{i:06}.jpg': [0, 0, 2, 1, 0][i % 5] for i in (7, 3, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12)}
TRAIN = [1, 4, 5, 6, 9, 10, 11]
TEST = [2, 7, 12]


def grey(number):
    return np.full([218, 178, 3], 20 * number, np.uint8)


def has(number, attribute):
    return (number * 7 + attribute) % 3 == 0


@pytest.fixture
def official(tmp_path, write_jpeg):
    """Returns a folder with the three official files, images unpacked; image i has grey 20 i."""
    rows = [str(len(PARTS)), ' '.join(ATTRIBUTES) + ' ']
    for name in PARTS:
        number = int(name[:6])
        write_jpeg(tmp_path / 'img_align_celeba' / name, grey(number))
        values = [' 1' if has(number, attribute) else '-1' for attribute in range(40)]
        rows.append(f'{name} {" ".join(values)}')
    (tmp_path / 'list_attr_celeba.txt').write_text('\n'.join(rows) + '\n')
    lines = [f'{name} {part}' for name, part in PARTS.items()]
    (tmp_path / 'list_eval_partition.txt').write_text('\n'.join(lines) + '\n')
    return tmp_path


def pack(folder):
    with zipfile.ZipFile(folder / 'img_align_celeba.zip', 'w') as archive:
        archive.mkdir('img_align_celeba')
        for path in (folder / 'img_align_celeba').iterdir():
            archive.write(path, f'img_align_celeba/{path.name}')
    shutil.rmtree(folder / 'img_align_celeba')


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


@pytest.mark.parametrize('packed', [False, True])
def test_load_reads_the_official_files(official, packed):
    if packed:
        pack(official)
    dataset = load(official)
    check(dataset)
    assert (dataset.test.x[:, 0, 0, 0] // 20).tolist() == TEST  # in order of name


def test_load_reads_tensorflow_datasets(serve, tmp_path):
    def examples(numbers):
        info = tfds.builder('celeb_a', data_dir=str(tmp_path)).info.features
        zeros = {name: dict.fromkeys(info[name], 0) for name in ('landmarks', 'identity')}
        for number in numbers:
            attributes = {a: has(number, i) for i, a in enumerate(ATTRIBUTES)}
            yield dict(image=grey(number), attributes=attributes, **zeros)

    serve('celeb_a', train=examples(TRAIN), validation=examples([3, 8]), test=examples(TEST))
    check(load(tmp_path, download=True))


def test_crop_is_central_and_has_the_requested_size(official, write_jpeg):
    """The central 140 x 140 of 178 x 218 are columns 19 to 158 and rows 39 to 178."""
    image = np.full([218, 178, 3], 255, np.uint8)
    image[39:179, 19:159] = 80
    for name in PARTS:
        write_jpeg(official / 'img_align_celeba' / name, image)
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


def test_load_refuses_a_missing_text_file(official):
    (official / 'list_attr_celeba.txt').unlink()
    refused(official, 'list_attr_celeba.txt', 'Put the official')


def test_load_refuses_a_missing_image(official):
    (official / 'img_align_celeba' / '000009.jpg').unlink()
    refused(official, '11 images', '12 in list_eval_partition.txt', '000009.jpg', 'Download')


def test_load_refuses_a_truncated_partition(official):
    path = official / 'list_eval_partition.txt'
    path.write_text('\n'.join(path.read_text().splitlines()[:-1]))
    refused(official, '11 in list_eval_partition.txt', '000012.jpg', 'Download')


def test_load_refuses_a_partition_without_test_images(official):
    lines = [f'{name} 0' for name in PARTS]
    (official / 'list_eval_partition.txt').write_text('\n'.join(lines))
    refused(official, 'list_eval_partition.txt: part 2 is empty', 'Download it again')


@pytest.mark.parametrize('line', ['000013.jpg 1 -1', '000013.jpg one'])
def test_load_refuses_a_corrupt_table(official, line):
    with (official / 'list_attr_celeba.txt').open('a') as file:
        file.write(line)
    refused(official, 'list_attr_celeba.txt', 'Download it again')


def test_load_refuses_a_corrupt_archive(official):
    pack(official)
    path = official / 'img_align_celeba.zip'
    path.write_bytes(path.read_bytes()[:-30])
    refused(official, 'img_align_celeba.zip: corrupt', 'Download it again')


@pytest.mark.parametrize('packed', [False, True])
def test_load_refuses_a_corrupt_image(official, packed):
    (official / 'img_align_celeba' / '000010.jpg').write_bytes(b'not an image')
    if packed:
        pack(official)
    refused(official, '000010.jpg: not a readable', '178x218', 'replace it')


def test_load_refuses_an_image_of_another_size(official, write_jpeg):
    write_jpeg(official / 'img_align_celeba' / '000002.jpg', np.zeros([178, 218, 3], np.uint8))
    refused(official, '000002.jpg', '178x218')
