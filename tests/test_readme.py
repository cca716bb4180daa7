"""The README says what is: its flags exist, and its Python runs."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

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


def test_pictures_as_an_npz_are_cut_alike(tmp_path, monkeypatch):
    from flexae_tf import data

    rng = np.random.default_rng(0)
    for i in range(20):
        image = rng.integers(0, 256, [70, 66, 3], np.uint8)
        (tmp_path / 'PICTURES').mkdir(exist_ok=True)
        (tmp_path / 'PICTURES' / f'{i:02}.png').write_bytes(tf.io.encode_png(image).numpy())
    monkeypatch.chdir(tmp_path)
    exec(next(b for b in re.findall(r'```python\n(.*?)```', README, re.S) if 'savez' in b), {})
    options = dict(dataset='folder', batch_size=2)
    folder = data.load(config.TrainConfig(data_dir='PICTURES', image_size=64, **options))
    npz = data.load(config.TrainConfig(data_dir='images.npz', **options))
    for split in ('train', 'validation', 'test'):
        np.testing.assert_array_equal(getattr(folder, split).x, getattr(npz, split).x)


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
