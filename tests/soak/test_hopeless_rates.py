"""Learning rates without hope end in exit code 5 or in a finite run, for every class of methods."""

import contextlib
import io
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import cli
from flexae_tf.checked_files import read_json
from flexae_tf.errors import NonFiniteLossError
from tests.soak import campaign

PARTS = {  # of learning rates
    'flexae': ('ae', 'critic', 'gen', 'enc'),
    'flexae_sr': ('ae', 'smooth'),
    'vae': ('ae',),
    'two_stage_vae': ('ae',),
    'vae_vampprior': ('ae',),
    'vae_flow': ('ae',),
    'vae_flow_prior': ('ae',),
    'vae_iop': ('ae', 'critic'),
    'wae_gan': ('ae', 'critic'),
    'rae_gmm': ('ae',),
    'injflow': ('ae',),
    'mask_aae': ('ae', 'critic', 'enc'),
}
RECORD = dict(step=int, seed=int, not_finite=[str], batch_indices=[[int]])


def call(*command):
    """Runs a program in this process; returns its output, and its error if it diverged."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            cli.call(command[0], command[1:])
        except NonFiniteLossError as error:
            return output.getvalue(), error
    return output.getvalue(), None


def assert_checkpoints_are_finite(run):
    """Asserts that every float in the checkpoints and snapshots of a run is finite."""
    for path in (run / 'checkpoints').glob('*.index'):
        reader = tf.train.load_checkpoint(str(path.with_suffix('')))
        for name, dtype in reader.get_variable_to_dtype_map().items():
            assert not dtype.is_floating or np.isfinite(reader.get_tensor(name)).all(), name


def times(run):
    return {path: path.stat().st_mtime_ns for path in run.rglob('*')}


@pytest.mark.parametrize('method', PARTS)
def test_training_with_hopeless_rates(method, tmp_path):
    outcomes = Counter()
    vectors = (
        [] if method == 'flexae_sr' else [('1e5', campaign.VECTORS), ('1e30', campaign.VECTORS)]
    )
    for rate, data in [('1e3', campaign.IMAGES), ('1e20', campaign.IMAGES), *vectors]:
        for part in PARTS[method]:
            run = tmp_path / f'{part}-{rate}'
            command = campaign.training(method, run, data)
            command += [f'--{part}_learning_rate={rate}', '--training_steps=60']
            command += ['--log_every_steps=60', '--sample_every_steps=20', '--save_every_steps=10']
            _, error = call(*command)
            assert_checkpoints_are_finite(run)
            outcomes['exit 5' if error else 'finite'] += 1
            if not error:
                assert not (run / 'nonfinite.json').exists()
                continue
            record = read_json(run / 'nonfinite.json', RECORD)
            step = record['step']
            assert record['not_finite'][0] in str(error) and f'at step {step};' in str(error)
            before = times(run)
            said, _ = call(*command, f'--replay_step={step}')
            assert 'first value that is not finite: none' not in said, said
            assert 'NaN and' in said and 'flexae_tf/' in said, said
            # A weight that overflows is noticed in the losses of the next iteration.
            assert f'at step {step} ' in said or f'at step {step - 1} ' in said
            assert times(run) == before
    campaign.report('guards', method, outcomes, '; kept checkpoints finite, operation named')
