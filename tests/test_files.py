"""Paths: a path is a name, not a pattern, a URL or nothing."""

import os
import pathlib
import tempfile

import pytest
import tensorflow as tf

from flexae_tf.errors import UsageError
from flexae_tf.files import local_path, tensorflow_path, write_text

# Names that a file system allows.
NAMES = [
    '[a]',
    'a[0-9]*?',
    'back\\slash',
    '{a,b}',
    '100% $HOME $$',
    ' space ',
    '"quotes\'',
    '-dash',
    '~tilde',
    '#hash',
    'a:b',
    'é',
    os.fsdecode(b'not UTF-8 \xff'),
    'a' * 255,
]


@pytest.mark.parametrize(
    ('path', 'problem'),
    [
        ('', 'empty'),
        ('gs://bucket/run', 'a URL, not a path'),
        ('S3a://bucket/run', 'a URL, not a path'),
        ('file:///run', 'a URL, not a path'),
        ('a\nb', 'control characters'),
        ('a\0b', 'control characters'),
        ('~no-such-user/run', 'unknown home folder'),
    ],
)
def test_local_path_refuses_what_is_no_path(path, problem):
    with pytest.raises(UsageError) as error:
        local_path('--workdir', path)
    assert str(error.value).startswith('--workdir=') and problem in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', [*NAMES[:8], *NAMES[9:], 'gs:/bucket', 'a//b', '..'])
def test_local_path_keeps_names(name):
    assert local_path('--workdir', name) == name
    assert local_path('--workdir', pathlib.Path('/data', name)) == f'/data/{name}'.replace(
        'a//b', 'a/b'
    )


def test_local_path_expands_the_home_folder(monkeypatch):
    monkeypatch.setenv('HOME', '/home/somebody')
    assert local_path('--workdir', '~/run') == '/home/somebody/run'
    assert local_path('--workdir', './~') == './~'


def test_local_path_refuses_relative_paths_without_a_working_directory(tmp_path, monkeypatch):
    folder = tmp_path / 'gone'
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UsageError, match='working directory that was removed'):
        local_path('--workdir', 'run')
    assert local_path('--workdir', '/run') == '/run'


@pytest.mark.parametrize('name', NAMES)
def test_tensorflow_path_is_taken_literally(tmp_path, name):
    """Checkpoints, SavedModels, events and files, beside folders that match as a pattern."""
    folder = tmp_path / name
    for path in (folder, tmp_path / 'a', tmp_path / 'a0xx'):
        path.mkdir()
        (path / 'file').write_bytes(os.fsencode(path.name))
    module = tf.Module()
    module.variable = tf.Variable(3.0)
    checkpoint = tf.train.Checkpoint(module=module)
    with tensorflow_path(folder) as literal:
        assert tf.io.read_file(f'{literal}/file').numpy() == os.fsencode(name)
        checkpoint.write(f'{literal}/ckpt')
        module.variable.assign(0.0)
        checkpoint.read(f'{literal}/ckpt').assert_consumed()
        assert module.variable.numpy() == 3.0
        tf.saved_model.save(module, f'{literal}/model')
        assert tf.saved_model.load(f'{literal}/model').variable.numpy() == 3.0
        with tf.summary.create_file_writer(f'{literal}/tb').as_default() as writer:
            tf.summary.scalar('scalar', 1.0, step=1)
        writer.close()
    (events,) = (folder / 'tb').iterdir()
    assert events.stat().st_size > 100
    assert len(list((tmp_path / 'a').iterdir())) == len(list((tmp_path / 'a0xx').iterdir())) == 1


def test_tensorflow_path_leaves_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    for folder in ('temporary', '[a]', 'plain'):
        (tmp_path / folder).mkdir()
    with tensorflow_path(tmp_path / 'plain') as literal:
        assert literal == str(tmp_path / 'plain')
    with tensorflow_path(tmp_path / '[a]') as literal:
        assert os.path.samefile(literal, tmp_path / '[a]')
        assert literal.startswith(f'{tmp_path}/temporary/')
    assert not list((tmp_path / 'temporary').iterdir()) and (tmp_path / '[a]').is_dir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / '[a]'))
    with (
        pytest.raises(UsageError, match='TMPDIR=.*: TensorFlow cannot use this name'),
        tensorflow_path(tmp_path / '[a]'),
    ):
        pass


def test_write_replaces_the_target_of_a_link(tmp_path):
    target, link = tmp_path / 'elsewhere' / 'target', tmp_path / 'link'
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ('new', 'old'):
        write_text(link, text)
        assert link.is_symlink() and target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ['target']


def test_write_does_not_replace_a_pipe(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(OSError, match='no regular file'):
        write_text(tmp_path / 'pipe', 'text')
    assert [(path.name, path.is_fifo()) for path in tmp_path.iterdir()] == [('pipe', True)]
