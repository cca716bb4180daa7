"""Programs that run at the same time in one folder end well, or name the other process."""

import os
import signal
from collections import Counter

from flexae_tf.checked_files import check_manifest, read_jsonl
from tests.conftest import ROOT
from tests.soak import campaign
from tests.soak.campaign import Process, complete, differing, printed

NO_LOCKS = """
import errno, fcntl, os

def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
"""


def together(*commands):
    """Starts programs at once; returns the finished processes and the number of each exit code."""
    processes = [Process(command) for command in commands]
    codes = Counter(f'exit {process.wait()}' for process in processes)
    return processes, codes


def test_two_trainings(tmp_path):
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    command = campaign.training('vae', run)
    processes, codes = together(command, command)
    assert codes == {'exit 0': 1, 'exit 2': 1}, [p.output for p in processes]
    assert any('another process' in process.output for process in processes)
    complete(campaign.training('vae', reference))
    assert not differing(reference, run)
    campaign.report('concurrency', 'two trainings of a workdir', codes, '; files identical')


def test_training_beside_a_stopped_and_after_a_killed_training(tmp_path):
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    command = campaign.training('vae', run)
    stopped = Process(command)
    assert stopped.reaches(printed('\nstep '))
    stopped.send(signal.SIGSTOP)
    _, codes = together(command)
    assert codes == {'exit 2': 1}
    stopped.send(signal.SIGKILL)
    stopped.wait()
    complete(command, campaign.training('vae', reference))
    assert not differing(reference, run)
    codes['exit 0'] += 1
    campaign.report('concurrency', 'stopped, then stale lock', codes, '; files identical')


def test_training_without_locks(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(NO_LOCKS)
    prefix = ['env', f'PYTHONPATH={tmp_path}:{ROOT}']
    process = Process(campaign.training('vae', tmp_path / 'run'), prefix=prefix)
    assert process.wait() == 0 and 'cannot be locked' in process.output, process.output
    campaign.report('concurrency', 'train without file locks', Counter(['exit 0 with a warning']))


def test_three_evaluations(vectors, network, tmp_path):
    reference, run = campaign.copies(vectors, tmp_path, 2)
    command = campaign.evaluation(run, network, cache=tmp_path / 'cache')
    processes, codes = together(command, command, command)
    assert codes == {'exit 0': 3}, [process.output for process in processes]
    complete(campaign.evaluation(reference, network, cache=tmp_path / 'cache'))

    def scores(folder):
        lines = read_jsonl(folder / 'scores.jsonl')
        return sorted((line['id'], line['value']) for line in lines if 'id' in line)

    assert scores(run) == scores(reference)
    campaign.report('concurrency', 'three evaluations of a run', codes, '; each score once')


def test_evaluations_and_samples_beside_a_training_that_prunes(network, tmp_path):
    run = tmp_path / 'run'
    flags = ['--training_steps=1000000', '--save_every_steps=10', '--keep_checkpoints=1']
    flags += ['--snapshot_every_steps=0']
    trainer = Process([*campaign.training('vae', run), *flags])
    assert trainer.reaches(campaign.changed(run / 'checkpoints'))
    assert trainer.reaches(lambda _: len(list((run / 'checkpoints').glob('*.manifest.json'))))
    codes = Counter()
    for i in range(4):
        evaluation = campaign.evaluation(run, network, cache=tmp_path / 'cache')
        sample = ['sample', f'--source={run}', f'--output_file={tmp_path}/{i}.npz']
        processes, found = together([*evaluation, '--metrics=fd'], sample, sample)
        assert found == {'exit 0': 3}, [process.output for process in processes]
        codes += found
    trainer.send(signal.SIGTERM)
    assert trainer.wait() == 128 + signal.SIGTERM
    campaign.report('concurrency', 'evaluate and sample beside train', codes)


def test_two_fits(vectors, tmp_path):
    reference, run = campaign.copies(vectors, tmp_path, 2)
    command = campaign.fit(run, 'second_stage')
    processes, codes = together(command, command)
    assert codes['exit 0'] and codes.keys() <= {'exit 0', 'exit 2'}, [p.output for p in processes]
    complete(campaign.fit(reference, 'second_stage'))
    assert not differing(reference, run)
    campaign.report('concurrency', 'two fits of a density', codes, '; tensors identical')


def test_two_exports(vectors, tmp_path):
    (run,) = campaign.copies(vectors, tmp_path, 1)
    command = campaign.export(run)
    processes, codes = together(command, command)
    assert codes['exit 0'] and codes.keys() <= {'exit 0', 'exit 2'}, [p.output for p in processes]
    check_manifest(run / 'export' / f'{campaign.STEPS:09d}')
    assert os.listdir(run / 'export') == [f'{campaign.STEPS:09d}']
    campaign.report('concurrency', 'two exports of a step', codes, '; one export, valid')


def test_two_reproductions(tmp_path):
    reference, output = tmp_path / 'reference', tmp_path / 'output'
    command = campaign.reproduce(output)
    processes, codes = together(command, command)
    assert codes == {'exit 0': 2}, [process.output for process in processes]
    complete(campaign.reproduce(reference))
    assert not differing(reference, output)
    for run in (reference / 'runs').iterdir():
        assert not differing(run, output / 'runs' / run.name)
    campaign.report('concurrency', 'two reproductions in a folder', codes, '; tables identical')
