import contextlib
import os
import pathlib
import shutil
import tempfile

import pytest
import tensorflow as tf

from flexae_tf.data.folder_layout import arrange, find_images
from flexae_tf.data.image_formats import PLAIN, ImageFile
from flexae_tf.errors import MissingDataError

PNG = tf.io.encode_png(tf.zeros([4, 4, 3], tf.uint8)).numpy()


def write(path, content=PNG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def found(folder):
    files, bad = find_images(folder, '--data_dir')
    return [os.path.relpath(file.path, folder) for file in files], bad


@contextlib.contextmanager
def unprivileged():
    """Runs without the rights of root, which may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(12345)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def public_folder():
    """Returns an empty folder that other users can read."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob('*'):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    'name',
    [
        '._a.png',
        '.hidden/a.png',
        '__MACOSX/faces/a.png',
        'deep/__MACOSX/a.png',
        '.ipynb_checkpoints/a-checkpoint.png',
        '.Trash-1000/files/a.png',
        '$RECYCLE.BIN/S-1/a.png',
        'System Volume Information/a.png',
        '.thumbnails/normal/a.png',
        '@eaDir/a.png/SYNOPHOTO_THUMB_M.png',
        'lost+found/a.png',
        'Thumbs.db',
        'thumbs.db',
    ],
)
def test_find_images_skips_and_counts_what_systems_create(tmp_path, capsys, name):
    write(tmp_path / 'b.png')
    write(tmp_path / name)
    assert found(tmp_path) == (['b.png'], {})
    line = capsys.readouterr().out
    assert line == f'1 images in {tmp_path}; 1 hidden or system files and folders skipped\n'


def test_find_images_reads_a_folder_that_is_hidden_itself(tmp_path):
    write(tmp_path / '.data' / 'b.png')
    assert found(tmp_path / '.data')[0] == ['b.png']


def test_find_images_needs_no_rights_on_system_folders(public_folder):
    write(public_folder / 'a.png')
    for name in ('lost+found', '.Trash-0', 'secret'):
        (public_folder / name).mkdir()
        (public_folder / name).chmod(0)
    with unprivileged(), pytest.raises(MissingDataError, match=r'secret: Permission denied\. Fix'):
        found(public_folder)
    (public_folder / 'secret').rmdir()
    with unprivileged():
        assert found(public_folder) == (['a.png'], {})


def test_find_images_lists_files_without_permission(public_folder):
    for name in ('a.png', 'b.png', 'c.txt'):
        write(public_folder / name)
        (public_folder / name).chmod(0 if name > 'a.png' else 0o644)
    with unprivileged():
        files, bad = found(public_folder)
    assert files == ['a.png'] and bad == {str(public_folder / 'b.png'): 'permission denied'}


def test_find_images_opens_regular_files_only(tmp_path):
    """Opening a named pipe would wait forever."""
    write(tmp_path / 'a.png')
    os.mkfifo(tmp_path / 'pipe.png')
    os.mkfifo(tmp_path / 'pipe')
    for name, target in {'zero.png': '/dev/zero', 'gone.png': 'x', 'loop.png': 'loop.png'}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / 'link.png').symlink_to('a.png')
    files, bad = found(tmp_path)
    assert files == ['a.png', 'link.png']
    assert {os.path.basename(path): problem for path, problem in bad.items()} == {
        'pipe.png': 'not a regular file',
        'zero.png': 'not a regular file',
        'gone.png': 'a broken link',
        'loop.png': 'a broken link',
    }


def test_find_images_decides_by_content(tmp_path, capsys):
    names = ('a', 'b.dat', 'c.TIFF', 'd.jpg', 'e.png.part')
    for name in names:
        write(tmp_path / name)
    for name in ('notes.txt', 'labels.csv', 'f.webp', 'g.heic'):
        write(tmp_path / name, b'text')
    files, bad = found(tmp_path)
    assert files == list(names)
    assert sorted(bad) == [str(tmp_path / 'f.webp'), str(tmp_path / 'g.heic')]
    assert '5 images in' in (line := capsys.readouterr().out) and '2 other files ignored' in line


def test_find_images_sorts_by_the_bytes_of_paths(tmp_path):
    names = ['B.png', 'a-1.png', 'a/1.png', 'a1.png', 'é.png', '\U0001f600.png', '\udcff.png']
    for name in names[::-1]:
        write(tmp_path / name)
    assert found(tmp_path)[0] == sorted(names, key=os.fsencode)


def layout(*names):
    folder = pathlib.Path('/data')
    files = [ImageFile(str(folder / name), PLAIN) for name in names]
    used, splits, labels = arrange(folder, files)
    names = [os.path.relpath(file.path, folder) for file in used]
    return names, splits.tolist(), None if labels is None else labels.tolist()


@pytest.mark.parametrize(
    'names, splits, labels',
    [
        (['a.png', 'b.png'], ['train'] * 2, None),
        (['all/a.png', 'all/b.png'], ['train'] * 2, None),
        (['cat/a.png', 'dog/old/b.png', 'cat/c.png'], ['train'] * 3, [0, 1, 0]),
        (['pets/cat/a.png', 'pets/dog/b.png'], ['train'] * 2, [0, 1]),
        (['cat/a.png', 'dog/b.png', 'c.png'], ['train'] * 3, None),
        (['train/a.png', 'test/b.png'], ['train', 'test'], None),
        (['Training/a.png', 'Testing/b.png'], ['train', 'test'], None),
        (['faces/train/a.png', 'faces/valid/b.png'], ['train', 'val'], None),
        (['train/a.png', 'val/b.png', 'test/c.png'], ['train', 'val', 'test'], None),
        (
            ['train/cat/a.png', 'train/dog/b.png', 'test/dog/c.png'],
            ['train', 'train', 'test'],
            [0, 1, 1],
        ),
        (['train/cat/a.png', 'train/dog/b.png', 'test/c.png'], ['train', 'train', 'test'], None),
        (['train/cat/a.png', 'train/dog/b.png'], ['train'] * 2, [0, 1]),
        (['a.png', 'test/b.png'], ['train', 'test'], None),
        (['cat/a.png', 'dog/b.png', 'test/cat/c.png'], ['train', 'train', 'test'], [0, 1, 0]),
        (['bus/a.png', 'train/b.png'], ['train'] * 2, [0, 1]),
    ],
)
def test_arrange_finds_splits_and_classes(names, splits, labels):
    assert layout(*names) == (names, splits, labels)


def test_arrange_leaves_out_what_is_outside_the_splits(capsys):
    used, splits, _ = layout('preview.png', 'train/a.png', 'test/b.png', 'extra/c.png')
    assert (used, splits) == (['train/a.png', 'test/b.png'], ['train', 'test'])
    assert capsys.readouterr().out == '2 images outside train, test and val ignored\n'


@pytest.mark.parametrize('names', [['test/a.png', 'test/b.png'], ['val/a.png', 'test/b.png']])
def test_arrange_never_trains_on_test_images(names):
    with pytest.raises(MissingDataError, match='/data: holds test or validation images only'):
        layout(*names)
