import pytest

from flexae_tf.training import disk_space, dry_run


@pytest.mark.parametrize(('every', 'snapshots'), [(0, 0), (4, 3), (5, 2), (20, 1)])
def test_dry_run_counts_the_snapshot_of_the_last_step(
    config, synthetic, capsys, monkeypatch, every, snapshots
):
    monkeypatch.setattr(disk_space, 'num_bytes', lambda variables: 2**20)
    monkeypatch.setattr(dry_run, 'step_flop', lambda method, batch_size: 0)  # slow
    options = dict(training_steps=10, snapshot_every_steps=every)
    for keep, save_every, saved in ((3, 3, 3), (1000, 4, 3), (3, 1000, 1)):
        own = config(**options, keep_checkpoints=keep, save_every_steps=save_every)
        dry_run.show(own, synthetic.spec)
        total = saved + 1 + snapshots  # one more while the oldest is replaced
        assert f'disk: {total} MiB of checkpoints' in capsys.readouterr().out
