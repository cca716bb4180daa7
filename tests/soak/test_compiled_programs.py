"""Trainings with XLA that keep their compiled programs."""

import re
import shutil

import numpy as np

import flexae_tf
from tests.soak.campaign import VECTORS

FLAGS = ['--method=vae', *VECTORS, '--training_steps=3', '--jit_compile=on', '--keep_compiled']


def train(program, workdir):
    done = program('train', *FLAGS, f'--workdir={workdir}', timeout=600)
    assert done.returncode == 0, done.stderr
    weights = flexae_tf.load_run(workdir).get_weights()
    return weights, done.stdout + done.stderr


def test_kept_programs_give_the_same_weights_and_corrupt_ones_are_left_out(program, tmp_path):
    first, text = train(program, tmp_path / 'first')
    assert 'text_format.cc' not in text
    (folder,) = (tmp_path / 'first' / 'compiled').iterdir()
    programs = {path.name for path in folder.glob('*.pb')}
    assert programs
    for name, corrupt in (('second', False), ('third', True)):
        shutil.copytree(tmp_path / 'first' / 'compiled', tmp_path / name / 'compiled')
        copy = tmp_path / name / 'compiled' / folder.name
        if corrupt:
            for path in copy.glob('*.pb'):
                path.write_bytes(path.read_bytes()[:1000])
        weights, text = train(program, tmp_path / name)
        assert bool(re.search('text_format.cc|aot_loader', text)) == (not corrupt)
        assert ('compiled programs are not used: ' in text) == corrupt
        for ours, theirs in zip(weights, first, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert {path.name for path in copy.glob('*.pb')} == programs
