"""Running jobs: missing commands, locks, signals, failures."""

import contextlib
import errno
import fcntl
import os
import re
import signal
import unittest.mock

import pytest

from flexae_tf import methods
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import runner
from flexae_tf.experiments.jobs import evaluated, make_job
from tests.experiments.conftest import wait_for

LOCK = '.reproduce.lock'


@pytest.fixture
def planned(tuning):
    """`planned(0.5, 0.1)`: jobs of these weights with one evaluation each."""

    def make(*weights, **options):
        config, fixed = tuning(**options), ('beta_vae', 'synthetic_2d')
        jobs = (make_job(config, *fixed, options={'kl_weight': w}) for w in weights)
        return [evaluated(config, job, sets='samples', split='validation') for job in jobs]

    return make


def values(job):
    return [line['value'] for line in job.scores(job.evaluations[0]) or ()]


def is_free(path):
    with open(path) as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True


def test_execute_repeats_no_finished_work_and_fits_densities(planned, tuning, calls):
    todo = planned(0.5, 0.1)
    assert runner.execute(todo) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1', 'evaluate 0.1']
    assert runner.execute(todo) == {} and calls() == []
    assert [values(job) for job in todo] == [[1.4], [1.0]]
    # Another evaluation of the same training; the training program verifies its checkpoint.
    assert runner.execute(planned(0.5, num_examples=30)) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5']
    # A checkpoint that was written again is evaluated again.
    next(todo[1].workdir.checkpoints.glob('*.manifest.json')).write_text('0.2')
    assert todo[1].state() == 'trained, not evaluated'
    assert runner.execute(todo) == {} and calls() == ['train 0.1', 'evaluate 0.1']
    # A density is fitted before its evaluation.
    job = evaluated(tuning(), todo[0], sets='samples', density='gaussian_mixture')
    assert runner.execute([job]) == {}
    assert calls() == ['train 0.5', 'fit gaussian_mixture', 'evaluate 0.5']


def test_scores_of_other_requests_and_torn_lines_are_not_taken(planned, stubs):
    (job,) = planned(0.5)
    runner.execute([job])
    text = job.workdir.scores.read_text()
    score, end = text.splitlines()
    other = score.replace('1.4', '7.0').replace('"id": "', '"id": "other-')
    job.workdir.scores.write_text(f'{score}\n{other}\n{end}\n{{"torn')
    assert values(job) == [1.4]
    job.workdir.scores.write_text(f'{score}\n{other}\n')  # the evaluation was killed
    assert job.scores(job.evaluations[0]) is None and job.state() == 'trained, not evaluated'


def test_failed_run_stops_no_other(stubs, planned, calls, capsys):
    bad, killed, good = planned(13, 9, 0.1)
    failures = runner.execute([bad, killed, good])
    assert failures == {
        bad.name: 'train: error: ae not finite',
        killed.name: 'train: killed by signal 9 (out of memory?)',
    }
    assert calls() == ['train 13', 'train 9', 'train 0.1', 'evaluate 0.1']
    assert f'FAILED {bad.name}: train: error: ae not finite' in capsys.readouterr().out
    with pytest.raises(FailedRunError, match=r'kl_weight=13.*\(2 of 3 runs failed\)'):
        runner.raise_failures(failures, [bad, killed, good])
    (stubs / 'silent').touch()
    (silent,) = planned(0.7)
    assert 'no scores' in runner.execute([silent])[silent.name]


def test_run_of_another_process_is_waited_for(planned, calls, capsys, monkeypatch):
    held, free = planned(0.5, 0.1)
    held.workdir.path.mkdir(parents=True)
    with open(held.workdir.path / LOCK, 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The other process releases it while this one waits.
        monkeypatch.setattr(runner.time, 'sleep', lambda _: fcntl.flock(lock, fcntl.LOCK_UN))
        assert runner.execute([held, free]) == {}
    assert calls() == ['train 0.1', 'evaluate 0.1', 'train 0.5', 'evaluate 0.5']
    assert capsys.readouterr().out.count(f'{held.name}: waiting for another process') == 1


def test_two_processes_share_a_folder(start, calls):
    both = [start(), start()]
    for process in both:
        assert 'winner: --kl_weight=0.1' in process.communicate(timeout=60)[0]
        assert process.returncode == 0
    assert sorted(calls()) == ['evaluate 0.1', 'evaluate 0.5', 'train 0.1', 'train 0.5']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signal_is_relayed_and_the_same_command_resumes(stubs, start, calls, number):
    (stubs / 'slow').write_text('0.1')
    process = start()
    wait_for((stubs / 'pid').exists)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    relayed = 'train: error: stopped' if number == signal.SIGTERM else 'KeyboardInterrupt'
    assert relayed in output
    assert len([line for line in output.splitlines() if re.match(r'\S+: error: ', line)]) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((stubs / 'pid').read_text()), 0)
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1']
    (stubs / 'slow').unlink()
    again = start()
    assert 'winner: --kl_weight=0.1' in again.communicate(timeout=60)[0] and again.returncode == 0
    assert calls() == ['train 0.1', 'evaluate 0.1']


def test_killed_process_keeps_its_run_locked_until_the_command_ends(stubs, start, calls, tmp_path):
    (stubs / 'slow').write_text('0.5')
    process = start()
    wait_for((stubs / 'pid').exists)
    process.kill()
    process.wait()
    (stubs / 'slow').unlink()
    lock = next((tmp_path / 'out' / 'runs').glob(f'*/{LOCK}'))
    assert not is_free(lock)
    os.kill(int((stubs / 'pid').read_text()), signal.SIGKILL)
    wait_for(lambda: is_free(lock))
    assert calls() == ['train 0.5']
    again = start()
    assert 'winner: --kl_weight=0.1' in again.communicate(timeout=60)[0]
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1', 'evaluate 0.1']


def test_file_system_without_locks_gives_a_warning(planned, calls, monkeypatch, capsys):
    no_locks = OSError(errno.ENOSYS, 'Function not implemented')
    monkeypatch.setattr(fcntl, 'flock', unittest.mock.Mock(side_effect=no_locks))
    assert runner.execute(planned(0.5)) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5']
    assert 'WARNING: ' in capsys.readouterr().out


def test_show_prints_state_commands_time_and_disk(planned, calls, capsys):
    todo = planned(0.5, 0.1)
    runner.show(todo)
    text = capsys.readouterr().out
    for job in todo:
        assert f'{job.name}: not started; training unknown, disk unknown\n' in text
        for command in job.commands():
            assert f'  {runner.text(command)}\n' in text
    assert not todo[0].output.exists() and calls() == []
    runner.execute(todo[:1])
    todo[1].workdir.checkpoints.mkdir(parents=True)
    for step in (2, 4):
        (todo[1].workdir.checkpoints / f'ckpt-{step:09d}.manifest.json').touch()
    (todo[1].workdir.checkpoints / 'ckpt-000000006.index').touch()  # no manifest: not finished
    capsys.readouterr()
    runner.show(todo)
    text = capsys.readouterr().out
    assert f'{todo[0].name}: finished; training 0 s, disk 0 MiB' in text
    # Two steps are left, at the two iterations per second of the other run.
    assert f'{todo[1].name}: at step 4 of 6; training 1 s, disk 0 MiB' in text
    assert text.endswith('2 runs, 1 s of training as far as the pace is known\n')
    texts = [runner.duration(seconds) for seconds in (45.4, 60, 1500, 4000)]
    assert texts == ['45 s', '1 min', '25 min', '1.1 h']


def test_workdir_of_another_run_fails_by_itself(config, planned, synthetic, calls):
    changed, other = planned(0.5, 0.1)
    changed.workdir.open(methods.resolve(config(), synthetic.spec), synthetic)
    assert 'another configuration' in changed.state() and changed.digest is None
    failures = runner.execute([changed, other])
    assert list(failures) == [changed.name] and '--method=' in failures[changed.name]
    assert calls() == ['train 0.1', 'evaluate 0.1']
