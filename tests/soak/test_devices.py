"""Training on several devices equals training on one device, up to rounding."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.soak import campaign
from tests.soak.test_workers import METHODS

FLAGS = ['--batch_size=16', '--critic_steps=2', '--precision=float32', '--device=cpu']
FLAGS += ['--training_steps=5']
TOLERANCE = 1e-5  # of weights and averages
# Of moments, relative to the largest value: small gradients are differences of large numbers. A
# gradient that is reduced twice, or not at all, changes them by half or more.
MOMENT_TOLERANCE = 0.2


def train(folder, number, flags, jit_compile):
    """Returns the variables after 5 steps on `number` devices."""
    # On a CPU, TensorFlow compiles the parts between collectives only with this flag.
    env = os.environ | dict(TF_XLA_FLAGS='--tf_xla_cpu_global_jit', TF_CPP_MIN_LOG_LEVEL='0')
    path = folder / f'{number}_{jit_compile}.npz'
    command = [sys.executable, '-m', 'tests.soak.devices', str(number), path, *flags]
    done = subprocess.run(
        [*command, f'--jit_compile={jit_compile}'],
        cwd=ROOT,
        env=env if jit_compile == 'on' else os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (jit_compile == 'on') == ('Compiled cluster using XLA' in done.stderr)
    return dict(np.load(path))


@pytest.mark.parametrize(
    'method, jit_compile', [*((m, 'off') for m in METHODS), ('flexae', 'on'), ('vae', 'on')]
)
def test_two_devices_equal_one(method, jit_compile, tmp_path):
    flags = [f'--flagfile={ROOT}/flags/methods/{method}.flags', *campaign.IMAGES, *FLAGS]
    one, two = (train(tmp_path, number, flags, jit_compile) for number in (1, 2))
    assert one.keys() == two.keys() and len(one) > 20
    weights, moments = {}, {}
    for name in one:
        gap = float(np.max(np.abs(one[name] - two[name]), initial=0.0))
        if name.endswith(('_momentum', '_velocity')):
            moments[name] = gap / max(float(np.max(np.abs(one[name]))), 1e-30)
        else:
            weights[name] = gap
    worst, worst_moment = (max(found, key=found.get) for found in (weights, moments))
    note = f'; weights differ by at most {weights[worst]:.1e}, moments by '
    note += f'{moments[worst_moment]:.1e} of the largest'
    campaign.report('devices', f'{method}, XLA {jit_compile}', Counter(steps=5), note)
    assert weights[worst] <= TOLERANCE, worst
    assert moments[worst_moment] <= MOMENT_TOLERANCE, worst_moment
