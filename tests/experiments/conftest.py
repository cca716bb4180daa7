"""Stub programs that leave the files of the real ones within a fraction of a second."""

import dataclasses
import json
import subprocess
import sys
import time

import pytest

from flexae_tf.config import ReproduceConfig
from flexae_tf.experiments import results, runner
from flexae_tf.experiments.results import Score
from flexae_tf.metrics.protocol import Protocol
from tests.conftest import ROOT

# Each program appends a line to calls.txt. A kl_weight of 13 fails, a kl_weight of 9 is killed, and
# the kl_weight in the file `slow` waits. A run whose name starts with the content of `bad` fails.
STUB = """
import hashlib, json, os, pathlib, signal, sys, time
from flexae_tf.config import EvaluateConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.metrics.protocol import Protocol
program, *arguments = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
root = pathlib.Path(__file__).parent
flags = dict(a[2:].split('=', 1) for a in arguments)
workdir = pathlib.Path(flags['workdir'])
small = {'beta_vae': '0.5', 'vae_flow': '0.5'} if 'small' in workdir.name else {}
weight = flags.get('kl_weight', small.get(workdir.name.split('-')[0], '0.1'))
bad, slow = ((root / n).read_text() if (root / n).exists() else None for n in ('bad', 'slow'))
steps = int(json.loads((root / 'steps.json').read_text()).get(workdir.name, flags.get(
    'training_steps', flags.get('checkpoint', '0').replace('all', '6'))))

def call(text):
    with open(root / 'calls.txt', 'a') as file:
        file.write(text + '\\n')

if program == 'train':
    call(f'train {weight}')
    if weight == '13' or (bad and workdir.name.startswith(bad)):
        print('train: error: ae not finite', file=sys.stderr)
        print('last words of a library')
        sys.exit(5)
    if weight == '9':
        os.kill(os.getpid(), signal.SIGKILL)
    if slow == weight:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit('train: error: stopped'))
        (root / 'written').write_text(str(os.getpid()))
        (root / 'written').rename(root / 'pid')
        print('slow', flush=True)
        time.sleep(60)
    (workdir / 'checkpoints').mkdir(exist_ok=True)
    (workdir / f'checkpoints/ckpt-{steps:09d}.manifest.json').write_text(weight)
    (workdir / 'perf.jsonl').write_text(json.dumps({'step': steps, 'perf/steps_per_sec': 2.0}))
elif program == 'fit':
    call(f'fit {flags["density"]}')
elif not (root / 'silent').exists():
    manifest = next((workdir / 'checkpoints').glob('*.manifest.json'))
    weight, step = float(manifest.read_text()), int(manifest.name[5:14])
    call(f'evaluate {weight:g}')
    request = from_arguments(EvaluateConfig, arguments).identity_hash()
    network = (root / 'network').read_text() if (root / 'network').exists() else 'a network'
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    lines = []
    for name in flags['sets'].split(','):
        raw = dict(dataset='mnist', split='test', num=50)
        protocol = (
            Protocol(**raw, features='codes') if name == 'latents' else
            Protocol(**raw, features='inception', layer='x', network=network, resize='none')
        )
        line = dict(
            step=0 if name == 'train' else step, set=name, stem='fd', code='0',
            protocol=protocol.id, fields=protocol.fields(), metric=f'fd_x_50_{name}',
            value=abs(weight - 0.1) + 1.0, request=request,
            protocol_name='standard', selection=None, repeats=1,
        )
        lines.append(line | {'id': f'{name}-{protocol.id}-{digest}-{flags.get("density")}'})
    ids = [line['id'] for line in lines]
    lines.append({'complete': request, 'scores': ids, 'checkpoint': digest, 'step': step})
    with open(workdir / 'scores.jsonl', 'a') as file:
        file.writelines(json.dumps(line) + '\\n' for line in lines)
"""


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """Folder of the stub program, which `runner` calls."""
    folder = tmp_path / 'stubs'
    folder.mkdir()
    (folder / 'stub.py').write_text(STUB)
    (folder / 'calls.txt').write_text('')
    (folder / 'steps.json').write_text('{}')
    monkeypatch.setattr(runner, 'PROGRAMS', (sys.executable, str(folder / 'stub.py')))
    execute = runner.execute

    def note_steps(jobs):
        (folder / 'steps.json').write_text(json.dumps({job.name: job.steps for job in jobs}))
        return execute(jobs)

    monkeypatch.setattr(runner, 'execute', note_steps)
    return folder


@pytest.fixture
def calls(stubs):
    """`calls()`: the program calls since the last time."""

    def new():
        lines = (stubs / 'calls.txt').read_text().splitlines()
        (stubs / 'calls.txt').write_text('')
        return lines

    return new


@pytest.fixture
def tuning(tmp_path):
    """`tuning(**options)`: options of a tiny tuning of beta_vae."""

    def make(**options):
        small = dict(tune='beta_vae', dataset='synthetic_2d', scale='small', training_steps=6)
        small |= dict(output_dir=str(tmp_path / 'out'), grid='kl_weight=0.5,0.1')
        return ReproduceConfig(**small | options)

    return make


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Path of the recorded results, which are empty at first."""
    path = tmp_path / 'recorded' / 'scores.jsonl'
    path.parent.mkdir()
    monkeypatch.setattr(results, 'RECORDED', path)
    return path


@pytest.fixture
def start(stubs, tmp_path):
    """`start('--dry_run')`: the program with stubs as a process; it tunes beta_vae."""
    started = []

    def run(*flags):
        code = 'import sys; from flexae_tf import cli; from flexae_tf.experiments import runner; '
        code += 'runner.PROGRAMS = sys.executable, sys.argv.pop(1); cli.reproduce()'
        flags = flags or ('--tune=beta_vae', '--grid=kl_weight=0.5,0.1', '--training_steps=6')
        flags = [*flags, '--dataset=synthetic_2d', f'--output_dir={tmp_path}/out']
        command = [sys.executable, '-c', code, stubs / 'stub.py', *flags]
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition):
    """Waits until a condition holds, at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


NAMES = {'reconstructions': 'rec', 'samples': 'gen', 'train': 'floor', 'latents': 'codes'}


def scores(*values, stem='fd', set_='samples', estimator='frechet', **changes):
    """Returns scores of seeds 0, 1, ...; by default of FlexAE's samples on synthetic_5d."""
    fields = dict(method='flexae', dataset='synthetic_5d', latent_dim=50, step=2000)
    fields |= dict(options={'training_steps': 2000}, split='test', checkpoint='c') | changes
    own = dict(estimator=estimator, quantization='none', dataset='mnist', split=fields['split'])
    own['data'] = 'd' * 12 if fields['split'] == 'train' else None
    protocol = Protocol(num=5000, features='codes' if set_ == 'latents' else 'vectors', **own)
    own = dict(stem=stem, set=set_, metric=f'{stem}_5000_{NAMES[set_]}')
    fields = own | dict(protocol=protocol.id, fields=protocol.fields()) | fields
    name = f'{fields["method"]}-{fields["dataset"]}-{sorted(fields["options"].items())}'
    return [Score(value=v, seed=i, run=f'{name}-{i}', **fields) for i, v in enumerate(values)]


def scores_by(name, values, sets=('samples',), **options):
    """Returns scores of each set; `values` has the scores of each value of a field."""
    parts = [(set_, key) for key in values for set_ in sets]
    return sum((scores(*values[k], set_=s, **options | {name: k}) for s, k in parts), [])


def replace(found, **changes):
    """Returns scores with changed fields."""
    return [dataclasses.replace(score, **changes) for score in found]


def row(table, name):
    """Returns the cells of a row after its name."""
    (found,) = (cells for cells in table.rows if cells[0] == name)
    return list(found[1:])


def outcome(table, beginning):
    """Returns (ours, outcome) of the claim whose text starts like this."""
    (found,) = (claim for claim in table.claims if claim.text.startswith(beginning))
    return found.ours, found.outcome
