"""Runs as command lines, and their execution: alone, side by side, killed."""

import errno
import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
import tensorflow as tf

import flexae_tf
from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import Interrupted, UsageError
from flexae_tf.experiments import artifacts, execution, planning, records, runs
from flexae_tf.experiments.exhibits.figures import figure_2
from flexae_tf.files import append_jsonl
from tests.experiments.conftest import wait_for

LOCK = '.reproduce.lock'


@pytest.fixture
def planned(reproduce):
    """`planned(0.5, 0.1)`: the runs of these weights, with one scoring each."""

    def make(*weights, **options):
        config = reproduce(**options)
        scoring = planning.scoring_flags(
            config, 'beta_vae', 'synthetic_2d', split='validation', sets='samples', metrics='fd'
        )
        return [
            planning.method_run(
                config, 'beta_vae', 'synthetic_2d', options={'kl_weight': w}, scorings=[scoring]
            )
            for w in weights
        ]

    return make


def is_free(path):
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_command_lines_of_a_run(reproduce, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = reproduce(data_dir='data', output='out', seed=3, features='pixels', num_examples=70)
    scoring = planning.scoring_flags(
        config, 'beta_vae', 'mnist', split='validation', sets='samples', metrics='fd'
    )
    run = planning.method_run(
        config, 'beta_vae', 'mnist', options={'kl_weight': 0.1 * 3}, scorings=[scoring]
    )
    assert run.name == 'beta_vae-mnist-small-training_steps=6-kl_weight=0.3-seed=3'
    train, evaluate = map(str, run.commands())
    assert train == (
        'python bin/train.py --flagfile=flags/methods/beta_vae.flags '
        '--flagfile=flags/datasets/mnist.flags --width_multiplier=0.125 --training_steps=6 '
        f'--kl_weight=0.3 --seed=3 --data_dir={tmp_path}/data '
        f'--workdir={tmp_path}/out/runs/{run.name}'
    )
    evaluate, told = evaluate.split(' --output_dir=')
    assert pathlib.Path(told).parent == tmp_path / 'out' / 'runs' / run.name / 'reproduce'
    assert evaluate == (
        f'python bin/evaluate.py --workdir={tmp_path}/out/runs/{run.name} --checkpoint=6 '
        '--split=validation --sets=samples --metrics=fd --num_examples=70 '
        f'--features=pixels --data_dir={tmp_path}/data'
    )
    options = run.config
    assert (options.method, options.dataset, options.latent_dim) == ('beta_vae', 'mnist', 32)
    assert run.commands()[1].options().num_examples == 70


def test_what_is_planned_twice_is_one_run(reproduce):
    """Whoever asks for what flagfiles and scale have, or no more than a place, asks for one run."""
    config = reproduce(training_steps=None)
    default = planning.method_run(config, 'beta_vae', 'mnist')
    assert default.name == 'beta_vae-mnist-small-seed=0'
    for options in ({'kl_weight': 0.5}, {'training_steps': 3000}, {'snapshot_every_steps': 500}):
        run = planning.method_run(config, 'beta_vae', 'mnist', options=options)
        assert run.name == default.name and run.config.identity() == default.config.identity()
    assert run.config.snapshot_every_steps == 500
    other = planning.method_run(config, 'beta_vae', 'mnist', options={'kl_weight': 0.2}, seed=4)
    assert other.name == 'beta_vae-mnist-small-kl_weight=0.2-seed=4'


def test_open_weights_are_those_that_were_tuned_at_the_scale(reproduce):
    small, whole = reproduce(training_steps=None), reproduce(scale='paper', training_steps=None)
    weights = {
        dataset: [
            planning.method_run(c, 'beta_vae', dataset).config.kl_weight for c in (small, whole)
        ]
        for dataset in ('mnist', 'cifar10')
    }
    assert weights == {'mnist': [0.5, 0.1], 'cifar10': [0.03, 0.03]}
    # What is asked for goes first.
    asked = planning.method_run(small, 'beta_vae', 'mnist', options={'kl_weight': 0.1})
    assert asked.config.kl_weight == 0.1 and 'kl_weight=0.1' in asked.name


def test_vectors_have_their_full_size_at_any_scale(reproduce):
    config = reproduce(training_steps=None)
    run = planning.method_run(config, 'vae', 'synthetic_2d')
    assert (run.config.training_steps, run.config.width_multiplier) == (20_000, 1.0)


def test_the_scale_of_the_paper_is_its_flagfiles(reproduce):
    config = reproduce(scale='paper', training_steps=None)
    run = planning.method_run(config, 'beta_vae', 'mnist')
    assert run.config.training_steps == 130_000 and run.config.width_multiplier == 1.0
    assert '--num_examples=10000' in planning.scoring_flags(
        config, 'beta_vae', 'mnist', split='test', sets='samples', metrics='fd'
    )


def test_a_flagfile_of_method_and_data_set_stands_for_both(clone):
    (clone / 'flags').unlink()
    for name in ('methods/vae', 'methods/vae_cifar10', 'datasets/mnist'):
        path = clone / 'flags' / f'{name}.flags'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    both = ('--flagfile=flags/methods/vae.flags', '--flagfile=flags/datasets/mnist.flags')
    assert planning.flagfiles('vae', 'mnist') == both
    own = ('--flagfile=flags/methods/vae_cifar10.flags',)
    assert planning.flagfiles('vae', 'cifar10') == own
    for method, dataset, missing in (
        ('vae_flow', 'mnist', 'methods/vae_flow'),
        ('vae', 'celeba', 'datasets/celeba'),
    ):
        with pytest.raises(UsageError, match=f'flags/{missing}.flags is missing'):
            planning.flagfiles(method, dataset)


def test_an_installed_package_has_no_flagfiles(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, 'ROOT', tmp_path)
    with pytest.raises(UsageError, match='no flags/.* run bin/reproduce.py of a clone'):
        planning.flagfiles('vae', 'mnist')


def test_finished_work_is_not_repeated(clone, planned, calls):
    todo = planned(0.5, 0.1)
    assert execution.execute(todo) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1', 'evaluate 0.1']
    assert execution.execute(todo) == {} and calls() == []
    assert [s['value'] for run in todo for s in run.scores(run.scorings[0])] == [1.4, 1.0]
    # Another scoring of the same training; the training program checks its checkpoint.
    assert execution.execute(planned(0.5, num_examples=30)) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5']
    # A checkpoint that was written again is scored again.
    next((todo[1].workdir.checkpoints).glob('*.manifest.json')).write_text('0.2')
    assert todo[1].state() == 'trained, to be scored'
    assert execution.execute(todo) == {} and calls() == ['train 0.1', 'evaluate 0.1']


def test_scores_that_others_asked_for_are_not_taken(clone, planned):
    (run,) = planned(0.5)
    execution.execute([run])
    line = run.workdir.scores.read_text()
    others = line.replace('1.4', '7.0').replace('"sample_seed": 0', '"sample_seed": 5')
    run.workdir.scores.write_text(line + others + '{"torn')
    assert [record['value'] for record in run.scores(run.scorings[0])] == [1.4]


def test_what_a_killed_scoring_told_is_told_anew(clone, planned):
    (run,) = planned(0.5)
    execution.execute([run])
    (score,) = run.scores(run.scorings[0])
    part = run.journal.unfinished(run.commands()[1].options())
    part.write_text(json.dumps(score) + '\n')
    next(run.workdir.checkpoints.glob('*.manifest.json')).write_text('0.2')  # again
    execution.execute([run])
    assert [s['value'] for s in run.scores(run.scorings[0])] == [1.4]  # once


def test_what_the_programs_leave_is_what_is_collected(here, tmp_path):
    """The real ones, where all other tests have stubs."""
    config = ReproduceConfig(
        artifact='fig3', scale='small', training_steps=2, num_examples=50, output_dir=str(tmp_path)
    )
    run = next(run for run in artifacts.plan(config) if run.config.method == 'vae')
    training, scoring = run.commands()
    here('train', *training.flags)
    assert run.state() == 'trained, to be scored'
    run.begin(scoring)
    here('evaluate', *scoring.flags)
    run.end(scoring, seconds=1.0, exit_code=0)
    assert run.state() == 'finished'
    found = records.collect([run])
    assert {r.kind for r in found} == {'rec', 'gen', 'floor', 'codes'}
    assert {r.metric for r in found if r.kind == 'gen'} == {'fd_vectors_50_gen'}
    assert all(r.machine.startswith('CPU') and r.method == 'vae' for r in found)
    versions = records.environments(found)
    assert versions['tensorflow'] == tf.__version__ and versions['scikit-learn'] != 'None'
    assert versions['code'].startswith(flexae_tf.__version__)
    records.write(tmp_path / 'records.jsonl', found)
    assert sorted(records.read(tmp_path / 'records.jsonl'), key=str) == sorted(found, key=str)


def test_what_the_programs_leave_of_every_snapshot_is_drawn(here, tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, 'SNAPSHOTS', 1)
    config = ReproduceConfig(
        artifact='fig2', scale='small', training_steps=2, num_examples=50, output_dir=str(tmp_path)
    )
    run = next(run for run in artifacts.plan(config) if run.config.method == 'wae_normal')
    training, scoring = run.commands()
    here('train', *training.flags)
    run.begin(scoring)
    here('evaluate', *scoring.flags)
    run.end(scoring, seconds=1.0, exit_code=0)
    found = records.collect([run])
    assert [r.step for r in found if (r.kind, r.stem) == ('gen', 'fd')] == [1, 2]
    critics = [r.protocol for r in found if r.stem == 'critic_distance']
    assert len(set(critics)) == 2  # each checkpoint has its own
    (table,) = figure_2(found).tables
    assert table.rows[0][0].text == 'WAE (normal prior)' and table.rows[0][2].text.endswith('(1)')


def test_the_time_of_a_training_has_that_of_its_stage(reproduce):
    config = reproduce(tune=None, values=None, artifact='table1,joint', dataset='mnist', seeds=1)
    planned = {run.config.method: run for run in artifacts.plan(config)}
    staged = planned['two_stage_vae']
    (flags,) = staged.scorings
    steps = staged.config.training_steps
    assert records._seconds(staged, flags) is None
    staged.workdir.path.mkdir(parents=True)
    append_jsonl(staged.workdir.perf, {'step': 3, 'perf/steps_per_sec': 2.0})
    assert records._seconds(staged, flags) is None  # nobody knows of the second stage
    folder = staged.workdir.path / 'densities' / f'{steps:09d}' / 'second_stage'
    folder.mkdir(parents=True)
    append_jsonl(folder / 'perf.jsonl', {'step': 3000, 'perf/steps_per_sec': 100.0})
    assert records._seconds(staged, flags) == steps / 2.0 + 30.0
    # Of a density that is not trained the time does not count.
    plain = planned['ae_gmm']
    own, latent_gan = plain.scorings
    plain.workdir.path.mkdir(parents=True)
    append_jsonl(plain.workdir.perf, {'step': 3, 'perf/steps_per_sec': 2.0})
    assert records._seconds(plain, own) == steps / 2.0
    assert '--density=latent_gan' in latent_gan and records._seconds(plain, latent_gan) is None


def test_a_failed_run_stops_no_other(clone, planned, calls, capsys):
    bad, killed, good = planned(13, 9, 0.1)
    assert execution.execute([bad, killed, good]) == {
        bad.name: 'train.py: error: ae not finite',
        killed.name: 'train.py was killed by signal 9 (is there too little memory?)',
    }
    assert calls() == ['train 13', 'train 9', 'train 0.1', 'evaluate 0.1']
    assert f'FAILED {bad.name}: train.py: error: ae not finite' in capsys.readouterr().out
    (clone / 'bin' / 'evaluate.py').write_text('print("nothing to say")')
    (silent,) = planned(0.7)
    assert 'left no score' in execution.execute([silent])[silent.name]


def test_a_run_that_another_process_has_is_waited_for(clone, planned, calls, capsys, monkeypatch):
    held, free = planned(0.5, 0.1)
    held.workdir.path.mkdir(parents=True)
    with open(held.workdir.path / LOCK, 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The other process lets it go while this one waits.
        monkeypatch.setattr(execution.time, 'sleep', lambda _: fcntl.flock(lock, fcntl.LOCK_UN))
        assert execution.execute([held, free]) == {}
    assert calls() == ['train 0.1', 'evaluate 0.1', 'train 0.5', 'evaluate 0.5']
    said = capsys.readouterr().out
    assert said.count(f'waiting for another process that has {held.name}') == 1


def test_two_processes_share_the_work(start, calls):
    both = [start(), start()]
    for process in both:
        assert 'winner: --kl_weight=0.1' in process.communicate(timeout=60)[0]
        assert process.returncode == 0
    assert sorted(calls()) == ['evaluate 0.1', 'evaluate 0.5', 'train 0.1', 'train 0.5']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on(clone, start, calls, number):
    (clone / 'slow').write_text('0.1')
    process = start()
    wait_for((clone / 'pid').exists)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    assert ('train.py: error: stopped' if number == signal.SIGTERM else 'KeyboardInterrupt') in said
    errors = [line for line in said.splitlines() if re.match(r'\S+: error: ', line)]
    assert len(errors) == 1 and 'the same command resumes' in errors[0]
    with pytest.raises(ProcessLookupError):
        os.kill(int((clone / 'pid').read_text()), 0)
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1']
    (clone / 'slow').unlink()
    again = start()
    assert 'winner: --kl_weight=0.1' in again.communicate(timeout=60)[0] and again.returncode == 0
    assert calls() == ['train 0.1', 'evaluate 0.1']


def test_a_file_system_without_locks_is_told_of(clone, planned, calls, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', no_locks)
    assert execution.execute(planned(0.5)) == {}
    assert calls() == ['train 0.5', 'evaluate 0.5']
    assert 'WARNING: ' in (said := capsys.readouterr().out) and 'cannot be locked' in said


def test_a_signal_is_heard_between_programs():
    relay = execution._Relay()
    relay._hear(signal.SIGTERM, None)
    with pytest.raises(Interrupted) as stopped:
        relay.check('before the next')
    assert stopped.value.exit_code == 143
    with subprocess.Popen(['sleep', '60']) as process, relay.to(process):
        assert process.wait(timeout=10) == -signal.SIGTERM


def test_a_run_is_not_taken_before_the_orphan_of_a_killed_process_has_ended(clone, start, tmp_path):
    (clone / 'slow').write_text('0.5')
    process = start()
    wait_for((clone / 'pid').exists)
    process.kill()
    process.wait()
    lock = next((tmp_path / 'out' / 'runs').glob(f'*/{LOCK}'))
    assert not is_free(lock)
    os.kill(int((clone / 'pid').read_text()), signal.SIGKILL)
    wait_for(lambda: is_free(lock))


def test_list_tells_how_far_the_runs_are_and_runs_nothing(clone, planned, calls, capsys):
    todo = planned(0.5, 0.1)
    runs.show(todo, {todo[0].name: ['needs time']})
    said = capsys.readouterr().out
    for run in todo:
        assert f'{run.name}: not begun' in said
    assert f'{todo[0].name}: not begun; needs time\n' in said
    for run in todo:
        for command in run.commands():
            assert f'  {command}\n' in said
    assert not todo[0].output.exists() and calls() == []
    execution.execute(todo[:1])
    (todo[1].workdir.checkpoints).mkdir(parents=True)
    for step in (2, 4):
        name = f'ckpt-{step:09d}.manifest.json'
        (todo[1].workdir.checkpoints / name).write_text('')
    (todo[1].workdir.checkpoints / 'ckpt-000000006.index').touch()  # not finished: no manifest
    assert [run.state() for run in todo] == ['finished', 'at step 4 of 6']


def test_a_workdir_of_another_run_fails_alone(config, clone, planned, synthetic, calls):
    changed, other = planned(0.5, 0.1)
    changed.workdir.open(config(), synthetic)
    assert 'another configuration' in changed.state()
    failures = execution.execute([changed, other])
    assert list(failures) == [changed.name] and '--method=flexae there' in failures[changed.name]
    assert calls() == ['train 0.1', 'evaluate 0.1']
