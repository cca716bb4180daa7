import json
import os
import threading

import keras
import pytest
import tensorflow as tf

from flexae_tf.errors import CorruptRunError, MissingDataError
from flexae_tf.training.checkpoints import Checkpoints, check_complete, check_names


@pytest.fixture
def value():
    return tf.Variable([1.0, 2.0])


@pytest.fixture
def store(tmp_path, value):
    return Checkpoints(
        tmp_path, tf.train.Checkpoint(value=value), name='ckpt', identity='abc', keep=3
    )


def fill(store, value, steps):
    for step in steps:
        value.assign([step, step])
        store.save(step)


def test_checkpoints_restore_the_newest_and_remove_the_oldest(store, value, tmp_path):
    fill(store, value, [10, 20, 30, 40])
    value.assign([0.0, 0.0])
    assert store.steps() == [20, 30, 40]
    assert store.restore_latest(print) == 40
    assert value.numpy().tolist() == [40, 40]
    assert not list(tmp_path.glob('*000000010*'))


def test_checkpoints_in_empty_folder_restore_nothing(store):
    assert store.restore_latest(print) is None


def test_first_save_that_was_killed_is_no_checkpoint(store, value, tmp_path):
    for step in (50, 30):  # the second save was killed, too
        store.save(step)
        (tmp_path / f'ckpt-{step:09d}.manifest.json').unlink()
        assert list(tmp_path.iterdir())
        assert store.steps() == [] and store.restore_latest(print) is None
    fill(store, value, [40])
    assert store.steps() == [40] and store.restore_latest(print) == 40


def truncate(folder):
    path = next(folder.glob('ckpt-000000030.data*'))
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(folder):
    path = next(folder.glob('ckpt-000000030.data*'))
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    'pattern, error, message',
    [
        ('ckpt-*', MissingDataError, 'was removed while it was read'),
        ('ckpt-*.data*', CorruptRunError, 'cannot be read'),
    ],
)
def test_checkpoints_report_files_that_vanish_while_reading(
    store, value, tmp_path, monkeypatch, pattern, error, message
):
    fill(store, value, [10])

    read = tf.train.Checkpoint.read

    def remove_and_read(self, prefix):
        for path in tmp_path.glob(pattern):
            path.unlink()
        return read(self, prefix)

    monkeypatch.setattr(tf.train.Checkpoint, 'read', remove_and_read)
    with pytest.raises(error, match=message):
        store.restore(10)


def remove_data(folder):
    next(folder.glob('ckpt-000000030.data*')).unlink()


def remove_index(folder):
    (folder / 'ckpt-000000030.index').unlink()


def remove_manifest(folder):
    (folder / 'ckpt-000000030.manifest.json').unlink()


def truncate_manifest(folder):
    (folder / 'ckpt-000000030.manifest.json').write_text('{"step"')


def truncate_index(folder):
    (folder / 'ckpt-000000030.index').write_bytes(b'')


def manifest_of_another_step(folder):
    previous = (folder / 'ckpt-000000020.manifest.json').read_bytes()
    (folder / 'ckpt-000000030.manifest.json').write_bytes(previous)


def manifest_names_other_files(folder):
    edit_manifest(folder, 30, lambda manifest: manifest['files'].update({'../x': [0, '']}))


def edit_manifest(folder, step, edit):
    """Edits a manifest as a person could, without a checksum."""
    path = folder / f'ckpt-{step:09d}.manifest.json'
    manifest = json.loads(path.read_text())
    manifest.pop('checksum', None)
    edit(manifest)
    path.write_text(json.dumps(manifest))


CORRUPTIONS = [
    truncate,
    flip_a_bit,
    remove_data,
    remove_index,
    remove_manifest,
    truncate_manifest,
    truncate_index,
    manifest_of_another_step,
    manifest_names_other_files,
]


@pytest.mark.parametrize('corrupt', CORRUPTIONS)
def test_checkpoints_skip_corrupt_files_with_a_warning(store, value, tmp_path, corrupt):
    fill(store, value, [10, 20, 30])
    corrupt(tmp_path)
    assert_step_30_is_skipped(store, value)


def assert_step_30_is_skipped(store, value):
    warnings = []
    assert store.restore_latest(warnings.append) == 20
    assert value.numpy().tolist() == [20, 20]
    assert len(warnings) == 1 and 'step 30' in warnings[0] and 'falling back' in warnings[0]
    with pytest.raises(CorruptRunError, match='step 30'):
        store.restore(30)
    # Training writes the step again.
    fill(store, value, [30])
    assert store.restore_latest(pytest.fail) == 30 and value.numpy().tolist() == [30, 30]


def link_to_nothing(path):
    path.symlink_to('nowhere')


def link_to_itself(path):
    path.symlink_to(path)


def folder_with_a_file(path):
    path.mkdir()
    (path / 'file').write_text('x')


@pytest.mark.parametrize('part', ['data-00000-of-00001', 'index', 'manifest.json'])
@pytest.mark.parametrize('make', [folder_with_a_file, link_to_nothing, link_to_itself, os.mkfifo])
def test_checkpoints_skip_parts_that_are_no_files(store, value, tmp_path, make, part):
    fill(store, value, [10, 20, 30])
    path = tmp_path / f'ckpt-000000030.{part}'
    path.unlink()
    make(path)
    assert_step_30_is_skipped(store, value)


@pytest.mark.parametrize('part', ['data-00000-of-00001', 'index', 'manifest.json'])
def test_checkpoints_skip_unreadable_parts(store, value, tmp_path, part, unprivileged):
    with unprivileged():
        fill(store, value, [10, 20, 30])
        (tmp_path / f'ckpt-000000030.{part}').chmod(0)
        assert_step_30_is_skipped(store, value)


def test_checkpoints_in_an_unreadable_folder_are_an_error(store, value, tmp_path, unprivileged):
    with unprivileged():
        fill(store, value, [10])
        tmp_path.chmod(0o300)
        with pytest.raises(CorruptRunError, match='cannot be read .Permission denied'):
            store.restore_latest(pytest.fail)


def copy_step(folder, step, to):
    for path in folder.glob(f'ckpt-{step:09d}.*'):
        copy = folder / path.name.replace(f'{step:09d}', f'{to:09d}')
        copy.write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ('edited', 'problem'),
    [
        ((), 'its manifest is of step 20'),
        (('step',), 'its manifest names other files'),
        (('step', 'files'), 'it holds the state of step 20'),
    ],
)
def test_checkpoints_copied_under_a_newer_name_are_skipped(value, tmp_path, edited, problem):
    step = tf.Variable(0, dtype=tf.int64)
    store = Checkpoints(
        tmp_path, tf.train.Checkpoint(value=value, step=step), name='ckpt', identity='abc'
    )
    for number in (20, 30):
        step.assign(number)
        fill(store, value, [number])
    copy_step(tmp_path, 20, to=40)

    def edit(manifest):
        new = {
            'step': 40,
            'files': {
                name.replace('0020', '0040'): entry for name, entry in manifest['files'].items()
            },
        }
        manifest.update({key: new[key] for key in edited})

    edit_manifest(tmp_path, 40, edit)
    warnings = []
    assert store.restore_latest(warnings.append) == 30
    assert step.numpy() == 30 and value.numpy().tolist() == [30, 30]
    assert [problem in warning for warning in warnings] == [True]
    with pytest.raises(CorruptRunError, match=problem):
        store.restore(40)


def test_checkpoints_are_read_beside_a_training_that_removes_them(store, value, tmp_path):
    other = tf.Variable([0.0, 0.0])
    writer = Checkpoints(
        tmp_path, tf.train.Checkpoint(value=other), name='ckpt', identity='abc', keep=1
    )
    fill(writer, other, [0])
    training = threading.Thread(target=fill, args=(writer, other, range(1, 100)))
    training.start()
    seen = []
    while training.is_alive():
        seen.append(store.restore_latest(lambda _: None))
        assert value.numpy().tolist() == [seen[-1]] * 2 and len(store.restored) == 12
    training.join()
    assert seen == sorted(seen) and len(set(seen)) > 5


def test_checkpoints_without_valid_files_are_an_error(store, value, tmp_path):
    fill(store, value, [30])
    truncate(tmp_path)
    with pytest.raises(CorruptRunError, match='no checkpoint is valid. Move that folder away'):
        store.restore_latest(print)


def test_checkpoints_keep_the_new_one_beside_corrupt_later_ones(store, value, tmp_path):
    fill(store, value, [10, 20, 30, 40])
    for step in (20, 30, 40):
        (tmp_path / f'ckpt-{step:09d}.manifest.json').unlink()
    fill(store, value, [15])
    assert store.restore_latest(lambda _: None) == 15


def test_checkpoints_ignore_leftover_temporary_files(store, value, tmp_path):
    (tmp_path / 'ckpt-000000010.manifest.json.tmp').write_text('{"st')
    fill(store, value, [10])
    assert store.restore_latest(print) == 10


def test_checkpoints_refuse_other_variables(store, value, tmp_path):
    fill(store, value, [10])
    objects = tf.train.Checkpoint(value=value, another=tf.Variable(0.0))
    with pytest.raises(CorruptRunError, match='Use the version that wrote it'):
        Checkpoints(tmp_path, objects, name='ckpt', identity='abc').restore(10)


def test_checkpoints_refuse_another_configuration(store, value, tmp_path):
    fill(store, value, [10])
    other = Checkpoints(tmp_path, tf.train.Checkpoint(value=value), name='ckpt', identity='xyz')
    with pytest.raises(CorruptRunError, match='another configuration'):
        other.restore(10)


def test_checkpoints_name_the_missing_step(store):
    with pytest.raises(MissingDataError, match='step 5'):
        store.restore(5)


def test_checkpoints_failed_save_keeps_older_ones(store, value, tmp_path, monkeypatch):
    fill(store, value, [10])
    write = tf.train.Checkpoint.write

    def full_disk(self, prefix, *args, **kwargs):
        write(self, prefix, *args, **kwargs)
        leftover = tmp_path / f'{prefix}_temp'  # TensorFlow leaves this folder behind
        leftover.mkdir()
        (leftover / 'part-00000-of-00001.data-00000-of-00001.tempstate123').write_bytes(b'some')
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full_disk)
    with pytest.raises(CorruptRunError, match='No space left'):
        store.save(20)
    monkeypatch.undo()
    assert store.steps() == [10] and not list(tmp_path.glob('*20*'))
    assert store.restore_latest(print) == 10


def test_checkpoints_remove_leftovers_of_a_killed_save(store, value, tmp_path):
    leftover = tmp_path / 'ckpt-000000010_temp'
    leftover.mkdir()
    fill(store, value, [20])
    assert not leftover.exists() and store.steps() == [20]


def test_manifest_has_sizes_and_digests(store, value, tmp_path):
    fill(store, value, [10])
    manifest = json.loads((tmp_path / 'ckpt-000000010.manifest.json').read_text())
    assert manifest['step'] == 10 and manifest['config'] == 'abc'
    for name, (size, digest) in manifest['files'].items():
        assert (tmp_path / name).stat().st_size == size and len(digest) == 64
    first = store.digest(10)
    fill(store, value, [10])
    assert store.digest(10) == first  # the same contents have the same digest


def test_check_complete_refuses_layers_in_a_list():
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(2)]
            self.parts[0].build([None, 3])

    class Named(keras.Model):
        def __init__(self):
            super().__init__()
            self.part = keras.layers.Dense(2)
            self.part.build([None, 3])

    named, hidden = Named(), Hidden()
    check_complete(tf.train.Checkpoint(model=named), named.variables)
    with pytest.raises(RuntimeError, match='kernel'):
        check_complete(tf.train.Checkpoint(model=hidden), hidden.variables)


def test_check_names_refuses_repeated_names():
    def functional():
        x = keras.Input([3])
        return keras.Model(x, keras.layers.Dense(2, name='fc')(x))

    model = functional()
    check_names(model.variables)
    with pytest.raises(RuntimeError, match='fc/bias, fc/kernel'):
        check_names(model.variables + functional().variables)
