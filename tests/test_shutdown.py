"""Signals: the first and the second one, in programs and in library use, also inside C++."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from flexae_tf import shutdown
from flexae_tf.errors import Interrupted
from flexae_tf.shutdown import GracefulShutdown
from tests.conftest import ROOT

# A program in an operation that holds up the main thread and its signal handlers, like a compiled
# call of TensorFlow.
PROGRAM = """
import subprocess, sys, threading, time
from flexae_tf import shutdown
from flexae_tf.shutdown import GracefulShutdown

def busy(seconds=60.0):
    print('ready', flush=True)
    blocked = threading.Lock()
    blocked.acquire()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        blocked.acquire(timeout=end - time.monotonic())

shutdown.PATIENCE = 0.5
with GracefulShutdown(leave='train') as stop:
"""
PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def start():
    """`start('busy()', nohup=True)`: a program that executes these lines and then ends."""
    started = []

    def run(*lines, nohup=False):
        code = PROGRAM + ''.join(f'    {line}\n' for line in lines)
        command = [*(['nohup'] if nohup else []), sys.executable, '-c', code]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=ROOT, **PIPES))
        assert started[-1].stdout.readline() == 'ready\n'
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    """Returns exit code, standard error, and the seconds until the end."""
    started = time.monotonic()
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors, time.monotonic() - started


def line(number):
    return (
        f'train: error: stopped by signal {number} while it ran, finished parts, if any, are '
        'saved: repeat the same command\n'
    )


@pytest.mark.parametrize('number', shutdown.SIGNALS)
def test_program_that_has_only_started_leaves_by_the_first_signal(start, number):
    process = start('shutdown.PATIENCE = 60.0', 'busy()')
    process.send_signal(number)
    code, errors, seconds = end(process)
    assert (code, errors) == (128 + number, line(number)) and seconds < 5.0


def test_program_leaves_when_its_patience_ends(start):
    process = start('shutdown.check()', 'busy()')
    process.send_signal(signal.SIGTERM)
    code, errors, seconds = end(process)
    assert (code, errors) == (143, line(15)) and 0.4 < seconds < 10.0


def test_program_can_end_by_itself_before_its_patience_ends(start):
    process = start(
        'shutdown.PATIENCE = 60.0',
        'shutdown.check()',
        'busy(0.5)',
        'try: shutdown.check("after step 7", "all saved")',
        'except BaseException as error: shutdown.leave("train", error)',
    )
    process.send_signal(signal.SIGUSR1)
    code, errors, _ = end(process)
    assert code == 138
    assert errors == ('train: error: stopped by signal 10 after step 7, all saved\n')


def test_temporary_folders_are_removed_however_the_program_ends(start, tmp_path):
    folder = tmp_path / 'temporary'
    for last in ('shutdown.leave("train", error)', 'print(error)'):
        folder.mkdir()
        process = start(
            f'shutdown.PATIENCE = 60.0; shutdown.remove_at_exit({str(folder)!r})',
            'busy(0.5)',
            'try: shutdown.check()',
            f'except BaseException as error: {last}',
        )
        process.send_signal(signal.SIGTERM)
        end(process)
        assert not folder.exists()


def test_deferred_work_is_finished_after_the_first_signal(start):
    process = start(
        'shutdown.check()', 'with shutdown.deferred(): busy(2.0); shutdown.check(); print("done")'
    )
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, 'done\n', '')


def test_check_raises_after_deferred_work():
    with GracefulShutdown():
        with shutdown.deferred():
            signal.raise_signal(signal.SIGTERM)
            shutdown.check()
        with pytest.raises(Interrupted):
            shutdown.check()


def test_second_signal_leaves_during_deferred_work(start):
    process = start('shutdown.check()', 'with shutdown.deferred(): busy()')
    for number in (signal.SIGTERM, signal.SIGTERM):  # one cause, as from `timeout`
        process.send_signal(number)
        time.sleep(shutdown.REPETITION / 10)
    for _ in range(3):  # the kernel repeats it
        process.send_signal(signal.SIGXCPU)
        time.sleep(1.5 * shutdown.REPETITION)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, errors, seconds = end(process)
    assert (code, errors) == (143, line(15)) and seconds < 5.0


def test_hangup_is_ignored_under_nohup(start):
    process = start('busy(1.0)', nohup=True)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0


def test_full_pipe_that_is_not_read_does_not_keep_the_program(start):
    fill = 'import os; os.set_blocking(2, False)', 'while True:', '    os.write(2, b"x" * 65536)'
    process = start(
        'import contextlib',
        'with contextlib.suppress(BlockingIOError): exec(' + repr('\n'.join(fill)) + ')',
        'import os; os.set_blocking(2, True); busy()',
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143


def test_signals_are_relayed_to_a_child_that_may_finish(start):
    child = PROGRAM.replace('0.5', '60.0')
    child += '    shutdown.check(); busy(1.0); shutdown.check("in the child")'
    process = start(
        'shutdown.check()',
        f'with shutdown.child([sys.executable, "-c", {child!r}]): pass',
        'shutdown.check()',
    )
    process.send_signal(signal.SIGUSR2)
    _, errors = process.communicate(timeout=30)
    assert 'stopped by signal 12 in the child' in errors and '12 between batches' in errors


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_child_receives_a_signal_that_came_before_it(number):
    """Until the child receives signals, they would end it by a traceback or without a message."""
    with GracefulShutdown():
        os.kill(os.getpid(), number)
        with shutdown.child([sys.executable, '-c', PROGRAM + '    busy()'], cwd=ROOT, **PIPES) as p:
            _, errors = p.communicate(timeout=30)
    assert (p.returncode, errors) == (128 + number, line(number))


@pytest.mark.parametrize('number', shutdown.SIGNALS)
def test_library_records_the_first_signal(number):
    before = signal.getsignal(number)
    with GracefulShutdown():
        shutdown.check('before the signal')
        assert shutdown.requested() is None
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # the process continues
        assert shutdown.requested() == number
        with pytest.raises(Interrupted, match='after step 7') as interrupted:
            shutdown.check('after step 7')
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interrupted.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    shutdown.check('after the end')


def test_context_joins_the_outer_one():
    with GracefulShutdown():
        with GracefulShutdown():
            signal.raise_signal(signal.SIGTERM)
        assert shutdown.requested() == signal.SIGTERM
    assert shutdown.requested() is None


def test_program_restores_handlers_when_it_ends():
    before, threads = signal.getsignal(signal.SIGTERM), threading.active_count()
    with GracefulShutdown(leave='train'):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.set_wakeup_fd(-1) == -1 and threading.active_count() == threads


def test_context_does_nothing_outside_the_main_thread():
    before, results = signal.getsignal(signal.SIGTERM), []

    def run():
        with GracefulShutdown():
            results.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [before]
