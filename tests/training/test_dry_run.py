import pytest

from flexae_tf.training import disk_space, dry_run


@pytest.mark.parametrize(('every', 'snapshots'), [(0, 0), (4, 3), (5, 2), (20, 1)])
def test_dry_run_counts_the_snapshot_of_the_last_step(
    config, synthetic, capsys, monkeypatch, every, snapshots
):
    monkeypatch.setattr(disk_space, 'num_bytes', lambda variables: 2**20)
    monkeypatch.setattr(dry_run, 'step_flop', lambda method, batch_size: 0)  # slow
    options = config(training_steps=10, keep_checkpoints=3, snapshot_every_steps=every)
    dry_run.show(options, synthetic.spec)
    assert f'disk: {3 + 1 + snapshots} MiB of checkpoints' in capsys.readouterr().out
