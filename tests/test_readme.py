"""The README says what is: its flags exist, and its Python runs."""

import dataclasses
import re

import numpy as np
import pytest

from flexae_tf import config
from flexae_tf.experiments.exhibits import readme
from tests.conftest import ROOT

README = (ROOT / 'README.md').read_text()
OTHERS = {'logdir', 'samples_per_plugin', 'help', 'flagfile', 'soak'}  # TensorBoard's, absl's, ours


def test_every_flag_named_in_the_readme_exists():
    options = [c for c in vars(config).values() if dataclasses.is_dataclass(c)]
    known = {field.name for option in options for field in dataclasses.fields(option)}
    named = set(re.findall(r'--([a-z_]+)', README))
    assert len(named) > 20
    assert not named - known - OTHERS


def test_every_file_named_in_the_readme_exists():
    for path in re.findall(r'(?<!/)(?:flexae_tf|flags|bin)/[\w/]+(?:\.\w+)?', README):
        assert (ROOT / path).exists(), path


def test_the_library_in_a_dozen_lines(tmp_path, monkeypatch, here, short_networks):
    here('train', '--flagfile=flags/smoke.flags', f'--workdir={tmp_path}/run')
    code = next(b for b in re.findall(r'```python\n(.*?)```', README, re.S) if 'Trainer' in b)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 12
    for old, new in [
        ('width_multiplier=0.125', 'latent_dim=32, critic_steps=1'),
        ('training_steps=300', 'training_steps=2'),
        ('runs/quickstart', f'{tmp_path}/run'),
    ]:
        assert old in code
        code = code.replace(old, new)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names['images'].shape == (16, 28, 28, 1) and names['codes'].shape == (16, 32)
    assert (tmp_path / 'exported' / 'saved_model.pb').exists()


def test_metrics_in_two_lines():
    code = next(b for b in re.findall(r'```python\n(.*?)```', README, re.S) if 'frechet' in b)
    rng = np.random.default_rng(0)
    names = dict(real=rng.normal(size=[60, 3]), fake=rng.normal(size=[60, 3]))
    exec(code, names)
    for name in ('distance', 'kid', 'precision', 'recall', 'density', 'coverage'):
        assert isinstance(names[name], float)


@pytest.mark.parametrize('name', ['quickstart', 'test'])
def test_the_two_commands_are_programs(name):
    assert (ROOT / 'bin' / name).stat().st_mode & 0o111


def test_its_tables_are_made_of_the_recorded_scores():
    assert re.findall(r'<!-- recorded: \w+ -->', README)
    assert readme.fill(README) == README, 'bin/reproduce.py --record fills them'
    # A number that somebody typed would not stay.
    table = README.index('<!-- recorded: ')
    typed = README[:table] + re.sub(r'\d\.\d\d', '0.00', README[table:], count=1)
    assert typed != README and readme.fill(typed) == README
