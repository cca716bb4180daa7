"""A clone whose programs are stubs: in no time they leave behind what the real ones do."""

import subprocess
import sys
import time

import pytest

from flexae_tf.config import ReproduceConfig
from flexae_tf.experiments import runs
from tests.conftest import ROOT

# Both write a line into calls.txt. A kl_weight of 13 fails, of 9 is killed; that in `slow` waits. A
# run whose name begins as `bad` says fails.
TRAIN = """
import os, pathlib, signal, sys, time
flags = {'kl_weight': '0.1'} | dict(arg[2:].split('=', 1) for arg in sys.argv[1:])
root, workdir = pathlib.Path(__file__).parents[1], pathlib.Path(flags['workdir'])
with open(root / 'calls.txt', 'a') as file:
    file.write(f'train {flags["kl_weight"]}\\n')
bad = root / 'bad'
if flags['kl_weight'] == '13' or (bad.exists() and workdir.name.startswith(bad.read_text())):
    print('train.py: error: ae not finite', file=sys.stderr)
    print('some library says goodbye')
    sys.exit(5)
if flags['kl_weight'] == '9':
    os.kill(os.getpid(), signal.SIGKILL)
if (root / 'slow').exists() and (root / 'slow').read_text() == flags['kl_weight']:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('train.py: error: stopped'))
    (root / 'written').write_text(str(os.getpid()))
    (root / 'written').rename(root / 'pid')  # who sees it can read it, and may signal at once
    print('slow', flush=True)
    time.sleep(60)
(workdir / 'checkpoints').mkdir(exist_ok=True)
name = f'ckpt-{int(flags["training_steps"]):09d}.manifest.json'
(workdir / 'checkpoints' / name).write_text(flags['kl_weight'])
"""
EVALUATE = """
import hashlib, json, pathlib, sys
flags = dict(arg[2:].split('=', 1) for arg in sys.argv[1:])
root, workdir = pathlib.Path(__file__).parents[1], pathlib.Path(flags['workdir'])
step = int(flags['checkpoint'])
manifest = workdir / 'checkpoints' / f'ckpt-{step:09d}.manifest.json'
weight = float(manifest.read_text())
with open(root / 'calls.txt', 'a') as file:
    file.write(f'evaluate {weight:g}\\n')
protocol = (root / 'protocol').read_text() if (root / 'protocol').exists() else '0123abcd'
kinds = dict(reconstructions='rec', samples='gen', train='floor', latents='codes')
for kind in map(kinds.get, flags['sets'].split(',')):
    record = dict(
        step=0 if kind == 'floor' else step, kind=kind, stem='fd', n=50, density=None, code='0',
        metric=f'fd_vectors_50_{kind}', protocol=protocol,
        value=abs(weight - 0.1) + 1.0, repeats=1, bootstrap=0,
        fields={'network': protocol, 'features': 'codes' if kind == 'codes' else 'vectors'},
        sample_seed=0 if kind == 'gen' else None,
    )
    for path in (workdir / 'scores.jsonl', pathlib.Path(flags['output'])):
        with open(path, 'a') as file:
            file.write(json.dumps(record) + '\\n')
"""
BENCHMARK = """
import json, pathlib, sys
root = pathlib.Path(__file__).parents[1]
network = '--subject=network' in sys.argv
with open(root / 'calls.txt', 'a') as file:
    file.write('benchmark network\\n' if network else 'benchmark\\n')
print('some line')
print(json.dumps({'images_per_second': 20.0} if network else {'median': 0.5}))
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The folder of the clone; `clone/calls.txt` tells what was called."""
    folder = tmp_path / 'clone'
    (folder / 'bin').mkdir(parents=True)
    (folder / 'bin' / 'train.py').write_text(TRAIN)
    (folder / 'bin' / 'evaluate.py').write_text(EVALUATE)
    (folder / 'bin' / 'benchmark.py').write_text(BENCHMARK)
    (folder / 'calls.txt').write_text('')
    (folder / 'flags').symlink_to(ROOT / 'flags')
    monkeypatch.setattr(runs, 'ROOT', folder)
    return folder


@pytest.fixture
def calls(clone):
    """`calls()`: what was called since the last time."""
    seen = []

    def new():
        lines = (clone / 'calls.txt').read_text().splitlines()
        fresh = lines[len(seen) :]
        seen.extend(fresh)
        return fresh

    return new


@pytest.fixture
def reproduce(tmp_path):
    """`reproduce(**options)`: options of a tiny tuning of beta_vae."""

    def make(**options):
        small = dict(tune='beta_vae', dataset='synthetic_2d', scale='small', training_steps=6)
        small |= dict(output_dir=str(tmp_path / 'out'), values='0.5,0.1')
        return ReproduceConfig(**{**small, **options})

    return make


@pytest.fixture
def start(clone, tmp_path):
    """`start('--dry_run')`: the program on the clone with stubs, as a process of its own.

    It tunes beta_vae, or makes an `artifact`.
    """
    started = []

    def run(*flags, artifact=None):
        code = 'import pathlib, sys; from flexae_tf.experiments import runs; from flexae_tf import '
        code += 'programs; runs.ROOT = pathlib.Path(sys.argv.pop(1)); programs.reproduce()'
        what = ['--tune=beta_vae', '--dataset=synthetic_2d', '--values=0.5,0.1']
        what += ['--training_steps=6']
        if artifact:
            what = [f'--artifact={artifact}']
        small = [*what, f'--output_dir={tmp_path}/out', *flags]
        command = [sys.executable, '-c', code, clone, *small]
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
