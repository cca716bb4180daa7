import numpy as np
import pytest

import flexae_tf
from flexae_tf.errors import MissingDataError
from flexae_tf.training.restore import RunReader, open_run, saved_steps
from tests.training.conftest import remove_checkpoint


def test_load_run_restores_the_trained_method(straight, run):
    loaded = flexae_tf.load_run(run)
    np.testing.assert_array_equal(loaded.sample(4, seed=3), straight.method.sample(4, seed=3))
    snapshot = flexae_tf.load_run(run, checkpoint=5)
    assert not np.array_equal(snapshot.sample(4, seed=3), loaded.sample(4, seed=3))


def test_open_run_falls_back_to_the_snapshot_of_a_step(straight, run):
    digests = open_run(run, 10).digests
    (run / 'checkpoints' / 'ckpt-000000010.index').write_bytes(b'')
    opened = open_run(run, 10)
    assert len(digests) == 2 and opened.digest in digests
    np.testing.assert_array_equal(
        opened.method.sample(4, seed=3), straight.method.sample(4, seed=3)
    )


def test_open_run_lists_the_steps_if_one_is_missing(run):
    with pytest.raises(MissingDataError, match='no checkpoint of step 7. .* 5, 6, 9, 10'):
        open_run(run, 7)


def test_saved_steps_lists_checkpoints_and_snapshots(run, tmp_path):
    assert saved_steps(run) == [5, 6, 9, 10]
    for step in (5, 6, 9, 10):
        remove_checkpoint(run, step)
    with pytest.raises(MissingDataError, match='holds no checkpoint yet'):
        saved_steps(run)
    with pytest.raises(MissingDataError, match='holds no run'):
        saved_steps(tmp_path)


def test_reader_opens_checkpoints_in_one_method_that_is_traced_once(run):
    reader = RunReader(run)
    for num, step in enumerate((10, 5, 9)):
        opened, single = reader.open(step), open_run(run, step)
        assert opened.step == step and opened.digests == single.digests
        z = opened.method.sample_latent(3 + num, seed=0)
        expected = single.method.sample(3 + num, seed=0)
        np.testing.assert_allclose(opened.method.traced.decode(z), expected, atol=1e-6)
        opened.method.prior = None  # as if a density replaced it
    assert opened.method.traced.decode.function.experimental_get_tracing_count() == 1
