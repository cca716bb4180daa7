import pytest

from flexae_tf.errors import UsageError
from flexae_tf.training.distribution import check_shares


def test_check_shares_refuses_batches_that_cannot_be_split():
    check_shares(16, 2, jit_compile=False)
    with pytest.raises(UsageError, match='batch_size=15: cannot be split over 2'):
        check_shares(15, 2, jit_compile=False)


def test_check_shares_refuses_xla_on_several_devices():
    check_shares(16, 1, jit_compile=True)
    with pytest.raises(UsageError, match='--jit_compile: works on one device, not on 2'):
        check_shares(16, 2, jit_compile=True)
