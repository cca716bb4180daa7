import json

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


def test_newest_is_restored_and_the_oldest_removed(store, value, tmp_path):
    fill(store, value, [10, 20, 30, 40])
    value.assign([0.0, 0.0])
    assert store.steps() == [20, 30, 40]
    assert store.restore_latest(print) == 40
    assert value.numpy().tolist() == [40, 40]
    assert not list(tmp_path.glob('*000000010*'))


def test_an_empty_folder_is_a_fresh_start(store):
    assert store.restore_latest(print) is None


def truncate(folder):
    path = next(folder.glob('ckpt-000000030.data*'))
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(folder):
    path = next(folder.glob('ckpt-000000030.data*'))
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    'gone, error, said',
    [
        ('ckpt-*', MissingDataError, 'was removed while it was read'),
        ('ckpt-*.data*', CorruptRunError, 'cannot be read'),
    ],
)
def test_what_goes_between_the_check_and_the_reading(
    store, value, tmp_path, monkeypatch, gone, error, said
):
    fill(store, value, [10])

    def check(step):
        for path in tmp_path.glob(gone):
            path.unlink()

    monkeypatch.setattr(store, '_problem', check)
    with pytest.raises(error, match=said):
        store.restore(10)


def lose_the_data(folder):
    next(folder.glob('ckpt-000000030.data*')).unlink()


def lose_the_index(folder):
    (folder / 'ckpt-000000030.index').unlink()


def lose_the_manifest(folder):
    (folder / 'ckpt-000000030.manifest.json').unlink()


def spoil_the_manifest(folder):
    (folder / 'ckpt-000000030.manifest.json').write_text('{"step"')


def empty_the_index(folder):
    (folder / 'ckpt-000000030.index').write_bytes(b'')


DAMAGES = [
    truncate,
    flip_a_bit,
    lose_the_data,
    lose_the_index,
    lose_the_manifest,
    spoil_the_manifest,
    empty_the_index,
]


@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_found_told_and_passed_over(store, value, tmp_path, damage):
    fill(store, value, [10, 20, 30])
    damage(tmp_path)
    told = []
    assert store.restore_latest(told.append) == 20
    assert value.numpy().tolist() == [20, 20]
    assert len(told) == 1 and 'step 30' in told[0] and 'falling back' in told[0]
    with pytest.raises(CorruptRunError, match='step 30'):
        store.restore(30)


def test_never_silently_from_zero(store, value, tmp_path):
    fill(store, value, [30])
    truncate(tmp_path)
    with pytest.raises(CorruptRunError, match='move that folder away'):
        store.restore_latest(print)


def test_damaged_later_files_do_not_push_out_the_one_just_written(store, value, tmp_path):
    fill(store, value, [10, 20, 30, 40])
    for step in (20, 30, 40):
        (tmp_path / f'ckpt-{step:09d}.manifest.json').unlink()
    fill(store, value, [15])
    assert store.restore_latest(lambda _: None) == 15


def test_left_over_temporary_files_do_not_matter(store, value, tmp_path):
    (tmp_path / 'ckpt-000000010.manifest.json.tmp').write_text('{"st')
    fill(store, value, [10])
    assert store.restore_latest(print) == 10


def test_a_checkpoint_of_other_code_is_told_apart(store, value, tmp_path):
    fill(store, value, [10])
    objects = tf.train.Checkpoint(value=value, another=tf.Variable(0.0))
    with pytest.raises(CorruptRunError, match='the version that wrote it'):
        Checkpoints(tmp_path, objects, name='ckpt', identity='abc').restore(10)


def test_a_checkpoint_of_another_configuration_is_not_ours(store, value, tmp_path):
    fill(store, value, [10])
    other = Checkpoints(tmp_path, tf.train.Checkpoint(value=value), name='ckpt', identity='xyz')
    with pytest.raises(CorruptRunError, match='another configuration'):
        other.restore(10)


def test_what_is_not_there_is_named(store):
    with pytest.raises(MissingDataError, match='step 5'):
        store.restore(5)


def test_a_failed_save_leaves_the_older_ones(store, value, tmp_path, monkeypatch):
    fill(store, value, [10])
    write = tf.train.Checkpoint.write

    def full_disk(self, prefix, *args, **kwargs):
        write(self, prefix, *args, **kwargs)
        left = tmp_path / f'{prefix}_temp'  # as TensorFlow leaves it
        left.mkdir()
        (left / 'part-00000-of-00001.data-00000-of-00001.tempstate123').write_bytes(b'some')
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full_disk)
    with pytest.raises(CorruptRunError, match='No space left'):
        store.save(20)
    monkeypatch.undo()
    assert store.steps() == [10] and not list(tmp_path.glob('*20*'))
    assert store.restore_latest(print) == 10


def test_what_a_killed_save_left_is_removed_by_the_next(store, value, tmp_path):
    left = tmp_path / 'ckpt-000000010_temp'
    left.mkdir()
    fill(store, value, [20])
    assert not left.exists() and store.steps() == [20]


def test_the_manifest_holds_sizes_and_digests(store, value, tmp_path):
    fill(store, value, [10])
    manifest = json.loads((tmp_path / 'ckpt-000000010.manifest.json').read_text())
    assert manifest['step'] == 10 and manifest['config'] == 'abc'
    for name, (size, digest) in manifest['files'].items():
        assert (tmp_path / name).stat().st_size == size and len(digest) == 64
    first = store.digest(10)
    fill(store, value, [10])
    assert store.digest(10) == first  # the same contents, the same name


def test_layers_that_a_checkpoint_would_miss_are_refused():
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


def test_variables_of_one_name_are_refused():
    def functional():
        x = keras.Input([3])
        return keras.Model(x, keras.layers.Dense(2, name='fc')(x))

    model = functional()
    check_names(model.variables)
    with pytest.raises(RuntimeError, match='fc/bias, fc/kernel'):
        check_names(model.variables + functional().variables)
