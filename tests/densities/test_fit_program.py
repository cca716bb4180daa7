"""The fit program, and the programs that need its densities."""

import os
import re
import shlex
import signal

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.checked_files import read_json, write_json
from flexae_tf.densities import DENSITIES, densities
from flexae_tf.errors import Interrupted, MissingDataError
from flexae_tf.training.restore import open_run
from flexae_tf.training.trainer import Trainer
from tests.densities.conftest import DENSITY_STEPS


def test_fit_program_fits_once(run, here, refused_here, capsys):
    flags = [f'--workdir={run.workdir.path}', '--density=latent_gan']
    here('fit', *flags, f'--density_steps={DENSITY_STEPS}')
    folder = densities.density_folder(run, 'latent_gan')
    assert f'latent_gan: fitted to step 30, in {folder}' in capsys.readouterr().out
    tensors = (folder / 'density.npz').stat()
    here('fit', *flags)
    assert f'latent_gan: already fitted to step 30, in {folder}' in capsys.readouterr().out
    assert (folder / 'density.npz').stat() == tensors
    refused_here(2, ['--density_steps=7', str(folder)], 'fit', *flags, '--density_steps=7')


def test_fit_program_fits_the_default_density(config, synthetic, tmp_path, here):
    folder = tmp_path / 'run'
    Trainer(config(method='ae_gmm', workdir=str(folder)), synthetic).train()
    with pytest.raises(MissingDataError, match='--checkpoint=10.$'):  # there is no other prior
        densities.open_sampler(folder)
    here('fit', f'--workdir={folder}')
    assert densities.open_sampler(folder).density.startswith('gaussian_mixture-')


def test_fit_program_fits_an_earlier_checkpoint(config, synthetic, tmp_path, here):
    folder = tmp_path / 'run'
    Trainer(config(workdir=str(folder)), synthetic).train()
    here('fit', f'--workdir={folder}', '--density=gaussian_mixture', '--checkpoint=5')
    run = densities.open_sampler(folder, 5, 'gaussian_mixture')
    assert run.step == 5 and run.density
    assert not densities.is_fitted(open_run(folder), 'gaussian_mixture')


@pytest.mark.parametrize('name', DENSITIES)
def test_fit_program_stops_gracefully(name, run, here, monkeypatch):
    load = data.load

    def load_and_terminate(config):
        os.kill(os.getpid(), signal.SIGTERM)
        return load(config)

    monkeypatch.setattr(data, 'load', load_and_terminate)
    flags = [f'--workdir={run.workdir.path}', f'--density={name}']
    with pytest.raises(Interrupted, match='signal 15 .*repeat the same command'):
        here('fit', *flags)
    assert not densities.is_fitted(run, name)


@pytest.mark.parametrize(
    'flags, words',
    [
        ([], ['vae has a prior', 'gaussian_mixture']),
        (['--density=none'], ['--density=none: nothing to fit. Choose one of']),
        (['--density=mixture'], ['--density=mixture']),
        (['--checkpoint=first'], ['--checkpoint=first']),
        (['--density=gaussian_mixture', '--density_steps=6'], ['--density_steps=6']),
        (['--density=latent_gan', '--density_steps=0'], ['--density_steps=0']),
    ],
)
def test_fit_program_refuses_wrong_flags(flags, words, trained_folder, refused_here):
    refused_here(2, words, 'fit', f'--workdir={trained_folder}', *flags)


def test_fit_program_refuses_other_data(run, refused_here):
    path = run.workdir.path / 'config.json'
    write_json(path, read_json(path, object) | {'examples': 'f' * 12})
    refused_here(
        2,
        ['other training data'],
        *('fit', f'--workdir={run.workdir.path}', '--density=gaussian_mixture'),
    )


def test_missing_density_error_names_the_command_that_fits_it(run, here, tmp_path):
    flags = {
        'sample': [f'--source={run.workdir.path}', f'--output_file={tmp_path}/x.npz'],
        'export': [f'--workdir={run.workdir.path}'],
    }
    for name, own in flags.items():
        with pytest.raises(MissingDataError) as error:
            here(name, *own, '--density=gaussian_mixture')
    program, *command = shlex.split(re.search(r'Run (.*), or use', str(error.value)).group(1))
    assert program == 'bin/fit.py'
    here('fit', *command)
    for name, own in flags.items():
        here(name, *own, '--density=gaussian_mixture')


def test_sample_fits_a_missing_density_on_request(run, here, tmp_path, monkeypatch):
    folders, load = [], data.load
    monkeypatch.setattr(data, 'load', lambda c: folders.append(c.data_dir) or load(c))
    flags = [f'--source={run.workdir.path}', '--density=gaussian_mixture', '--num_samples=9']
    fit = ['--fit_missing', f'--data_dir={tmp_path}']
    here('sample', *flags, f'--output_file={tmp_path}/fitted.npz', *fit)
    assert folders == [str(tmp_path)]
    here('sample', *flags, f'--output_file={tmp_path}/found.npz')
    with np.load(tmp_path / 'fitted.npz') as a, np.load(tmp_path / 'found.npz') as b:
        np.testing.assert_array_equal(a['latents'], b['latents'])


@pytest.mark.parametrize(
    'flag, words',
    [
        ('--method=latent_gan', ['bin/fit.py --density=latent_gan']),
        ('--dataset=codes', ['--dataset=codes']),
    ],
)
def test_train_refuses_latent_models(flag, words, tmp_path, refused_here):
    refused_here(2, words, 'train', flag, f'--workdir={tmp_path}/run')
