import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.data.batches import Batches, map_batches
from flexae_tf.data.dataset import Split, fingerprint
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import MissingDataError

SHAPE = (4, 5, 3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, [600, *SHAPE], np.uint8)


@pytest.fixture
def stored(images, tmp_path):
    """The images in reverse order, as a view of a file."""
    path = tmp_path / 'x.rows'
    path.write_bytes(images[::-1].tobytes())
    with path.open('rb') as file:
        yield StoredRows(file, SHAPE, np.arange(600)[::-1])


@pytest.mark.parametrize(
    'key', [7, -1, slice(3, 9), slice(-4, None), slice(9, 3), [5, 5, 0], [[1, 2], [3, 4]], []]
)
def test_stored_rows_read_like_an_array(stored, images, key):
    key = np.array(key, int) if isinstance(key, list) else key
    np.testing.assert_array_equal(stored[key], images[key], strict=True)


def test_stored_rows_describe_themselves_like_an_array(stored, images):
    for name in ('shape', 'dtype', 'ndim', 'nbytes'):
        assert getattr(stored, name) == getattr(images, name)
    assert len(stored) == 600 and fingerprint(stored) == fingerprint(images)
    with pytest.raises(IndexError):
        stored[600]


def test_split_takes_views_without_reading(stored, images, tmp_path):
    (tmp_path / 'x.rows').rename(tmp_path / 'y.rows')  # the file is open
    order = np.random.default_rng(1).permutation(600)[:300]
    view = Split(stored, labels=np.arange(600)).take(order).take(np.arange(7, 90))
    assert isinstance(view.x, StoredRows)
    np.testing.assert_array_equal(view.x[:], images[order[7:90]])
    np.testing.assert_array_equal(view.labels, order[7:90])
    assert fingerprint(view.x) == fingerprint(images[order[7:90]])


def make(x, batch_size=64):
    return Batches(x, batches_per_step=3, batch_size=batch_size, seed=2)


def test_batches_in_a_loop_equal_those_of_memory(stored, images):
    def batches_of(x, batches):
        @tf.function
        def collect():
            found = tf.TensorArray(tf.float32, 4)
            for step in tf.range(tf.constant(4, tf.int64)):
                found = found.write(tf.cast(step, tf.int32), batches(step))
            return found.stack()

        return collect()

    found = batches_of(stored, make(stored))
    assert found.shape[1:] == [3, 64, *SHAPE]
    np.testing.assert_array_equal(found, batches_of(images, make(images)))


def test_replicas_read_slices_of_the_batch(stored, images, mirrored):
    strategy, halves = mirrored(2), make(stored, batch_size=32)
    step = tf.constant(5, tf.int64)
    parts = strategy.experimental_local_results(tf.function(strategy.run)(halves, [step]))
    whole = tf.function(make(images))(step)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_map_batches_reads_all_rows(stored, images):
    np.testing.assert_array_equal(
        map_batches(tf.identity, stored, 64), map_batches(tf.identity, images, 64)
    )


def test_truncated_file_is_an_error_also_in_a_graph(stored, tmp_path):
    batches = make(stored)
    with (tmp_path / 'x.rows').open('r+b') as file:
        file.truncate(599 * 60)
    np.testing.assert_array_equal(stored[1:].shape, [599, *SHAPE])
    with pytest.raises(MissingDataError, match='x.rows: truncated. Rerun'):
        stored[:]
    assert batches.read_error is None
    (tmp_path / 'x.rows').write_bytes(b'')
    assert not tf.function(batches)(tf.constant(0, tf.int64)).numpy().any()
    assert 'truncated' in str(batches.read_error)


def test_read_error_names_the_file(stored):
    stored._file.close()
    stored._file = open('/proc/self/mem', 'rb')  # noqa: SIM115 (its first pages cannot be read)
    with stored._file, pytest.raises(MissingDataError, match='/proc/self/mem: cannot be read'):
        stored[0]
