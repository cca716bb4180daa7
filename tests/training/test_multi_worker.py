"""Processes that train together equal as many devices of one process."""

from tests.training.workers import assert_processes_equal_devices, finish, start


def test_two_processes_equal_two_devices(mirrored, tmp_path):
    outputs = assert_processes_equal_devices(mirrored, tmp_path, 2)
    assert 'step 5/5' in outputs[0] and 'step' not in outputs[1]  # the chief prints


def test_different_flags_are_named_before_the_networks_are_built(tmp_path):
    started = start(tmp_path / 'run', own_flags={1: ['--latent_dim=3']})
    codes, outputs = finish(started)
    assert codes == [2, 2] and 'Traceback' not in ''.join(outputs), outputs
    assert all('--latent_dim: differs between the processes' in output for output in outputs)
