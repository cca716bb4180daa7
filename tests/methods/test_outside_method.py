"""End-to-end test of a method outside the package: no edit of the package is needed."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

import flexae_tf
from flexae_tf.benchmark import timing, training
from flexae_tf.benchmark.variants import variants
from flexae_tf.cli import parse
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.training.workdir import Workdir

MODULE = '''
"""An auto-encoder with a weighted penalty on codes, outside the package."""

import dataclasses

import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import TrainConfig
from flexae_tf.config.options import option
from flexae_tf.methods.base import Method, adam, linear_warmup, minimize
from flexae_tf.methods.table import MethodSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    penalty: float = option(0.5, 'Weight of the squared norm of codes.', minimum=0.0)


class Ridge(Method):
    method_spec = MethodSpec(
        title='Ridge AE', prior='StandardNormal', required_options=('kl_weight',),
        depends_on_training_steps=True,
    )
    config_class = Config
    tags = ('loss/ae', 'loss/total', 'grad_norm/ae')

    def __init__(self, config, spec, method_spec):
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )

    def train_step(self, batches, step):
        x, weight = batches[0], linear_warmup(step, self.config.training_steps)
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            total = ae_loss + self.config.penalty * weight * losses.code_penalty(z)
        norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)
        return {'loss/ae': ae_loss, 'loss/total': total, 'grad_norm/ae': norm}


class NotAMethod:
    method_spec = MethodSpec()
'''
NAME = 'ridge_outside:Ridge'
FLAGS = (
    *(f'--method={NAME}', '--kl_weight=0.1', '--penalty=0.25', '--dataset=digits'),
    *('--width_multiplier=0.05', '--batch_size=8', '--latent_dim=4', '--validation_examples=50'),
    *('--log_every_steps=2', '--sample_every_steps=4', '--save_every_steps=2'),
)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / 'ridge_outside.py').write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop('ridge_outside', None)


def test_outside_method_trains_resumes_exports_and_is_evaluated(outside, here, tmp_path, capsys):
    folder = tmp_path / 'run'
    workdir = f'--workdir={folder}'
    here('train', *FLAGS, '--training_steps=4', workdir)
    here('train', *FLAGS, '--training_steps=4', workdir)
    assert 'already at step 4' in capsys.readouterr().out
    config, _ = Workdir(folder).read()
    assert type(config).__mro__[1].__name__ == 'Config'
    assert (config.method, config.penalty, config.latent_dim) == (NAME, 0.25, 4)
    method = flexae_tf.load_run(folder)
    assert method.name == 'ridge_outside_Ridge' and method.method_spec.title == 'Ridge AE'
    samples = method.sample(5, seed=1)

    here('export', workdir, f'--export_dir={tmp_path}/exported')
    signatures = tf.saved_model.load(f'{tmp_path}/exported').signatures
    found = signatures['sample'](num=tf.constant(5), seed=tf.constant(1))['images']
    np.testing.assert_allclose(found, samples, atol=1e-6)
    here('sample', f'--source={folder}', '--num_samples=4', f'--output_file={tmp_path}/samples.png')
    assert (tmp_path / 'samples.png').exists()
    here('evaluate', workdir, '--features=pixels', '--metrics=fd', '--num_examples=50')
    lines = [json.loads(line) for line in (folder / 'scores.jsonl').read_text().splitlines()]
    assert {line['set'] for line in lines if line.get('stem') == 'fd'} == {
        'reconstructions',
        'samples',
        'train',
    }


def test_outside_method_is_timed_with_its_own_options(outside, here, capsys, monkeypatch):
    monkeypatch.setattr(timing, 'SERIES_SECONDS', 0.01)
    monkeypatch.setattr(training, 'MATRIX', 64)
    here('benchmark', *FLAGS, '--iterations=2', '--warmup=1', '--json')
    found = json.loads(capsys.readouterr().out)
    assert found['method'] == NAME and found['iteration']['seconds'] > 0.0
    config = parse('benchmark', [*FLAGS, '--compare=--penalty=2;'])
    assert (config.penalty, config.warmup) == (0.25, 2)
    (_, flags), _ = variants(config)
    assert parse('benchmark', flags).penalty == 2.0
    config = parse('benchmark', [f'--method={NAME}', '--batch_size=8', '--compare=--method=vae'])
    assert variants(config)[0][1] == [f'--method={NAME}', '--batch_size=8', '--method=vae']
    with pytest.raises(UsageError, match='--penalties: unknown flag. Did you mean --penalty'):
        parse('benchmark', [*FLAGS, '--penalties=1'])


def test_outside_method_resumes_bit_identically(outside, here, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    here('train', *FLAGS, '--training_steps=4', f'--workdir={whole}')
    here('train', *FLAGS, '--training_steps=4', f'--workdir={parts}')
    for path in (parts / 'checkpoints').glob('*-000000004*'):
        path.unlink()
    here('train', *FLAGS, '--training_steps=4', f'--workdir={parts}')
    a, b = flexae_tf.load_run(whole), flexae_tf.load_run(parts)
    for v, w in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(v, w, err_msg=v.path)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--penalty=-1',), '--penalty=-1.0: too small'),
        (('--kl_weight=',), 'kl_weight'),
        (('--code_weight=1',), f'--code_weight=1.0: not used by --method={NAME}, only by rae_gmm'),
        (('--method=flexae', '--nopenalty'), 'penalty'),
    ],
)
def test_outside_method_refuses_its_flags_in_one_line(flags, message, outside, here, tmp_path):
    with pytest.raises(UsageError, match=message) as error:
        here('train', *FLAGS, '--training_steps=4', f'--workdir={tmp_path}/run', *flags)
    assert '\n' not in str(error.value)


def test_outside_method_needs_the_options_of_its_row(outside, here, tmp_path):
    flags = [flag for flag in FLAGS if not flag.startswith('--kl_weight')]
    with pytest.raises(UsageError, match=f'--kl_weight: missing, --method={NAME} needs it'):
        here('train', *flags, '--training_steps=4', f'--workdir={tmp_path}/run')


def test_build_method_refuses_a_class_that_is_no_method(outside):
    from flexae_tf.config import TrainConfig
    from tests.methods.building import build

    spec = DatasetSpec('digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0))
    with pytest.raises(UsageError, match='--method=ridge_outside:NotAMethod: no method. Make it'):
        build(TrainConfig(method='ridge_outside:NotAMethod'), spec)


def test_outside_method_is_planned_by_reproduce(outside, here, tmp_path, capsys):
    here(
        *('reproduce', '--artifact=table1', f'--methods=flexae,{NAME}', '--scale=small'),
        *('--dry_run', f'--output_dir={tmp_path}/paper', f'--data_dir={tmp_path}'),
    )
    out = capsys.readouterr().out
    assert NAME in out and 'flexae' in out
