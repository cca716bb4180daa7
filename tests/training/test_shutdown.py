import signal
import threading

import pytest

from flexae_tf.errors import Interrupted
from flexae_tf.training.shutdown import GracefulShutdown


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_shutdown_records_the_first_signal(number, code):
    before = signal.getsignal(number)
    with GracefulShutdown() as shutdown:
        shutdown.check('before the signal')
        signal.raise_signal(number)
        assert shutdown.requested == number
        assert signal.getsignal(number) == signal.SIG_DFL  # a second signal ends the process
        with pytest.raises(Interrupted, match='after step 7') as interrupted:
            shutdown.check('after step 7')
    assert interrupted.value.exit_code == code
    assert signal.getsignal(number) == before


def test_shutdown_does_nothing_outside_the_main_thread():
    results = []

    def run():
        with GracefulShutdown() as shutdown:
            results.append(shutdown.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [None]
