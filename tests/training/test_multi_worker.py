"""Processes that train together equal as many devices of one process."""

from tests.training.workers import assert_processes_equal_devices


def test_two_processes_equal_two_devices(mirrored, tmp_path):
    outputs = assert_processes_equal_devices(mirrored, tmp_path, 2)
    assert 'step 5/5' in outputs[0] and 'step' not in outputs[1]  # the chief prints
