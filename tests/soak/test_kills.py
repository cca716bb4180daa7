"""Programs that were killed at any moment leave the same files as uninterrupted programs."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.soak import campaign
from tests.soak.campaign import Phase, changed, complete, differing, kill, printed

# Number of kills in each phase.
TRAINING_KILLS = 6  # for each of 8 classes of methods and 4 phases
DENSITY_KILLS = 5  # for each of 3 densities and 3 or 4 phases
EVALUATION_KILLS = 8  # for each of 2 kinds of data and 3 phases
EXPORT_KILLS = 8  # for each of 2 phases
REPRODUCE_KILLS = 4  # for each of 4 phases


@pytest.mark.parametrize(
    'method',
    ['flexae', 'flexae_sr', 'vae', 'vae_iop', 'wae_gan', 'rae_gmm', 'injflow', 'mask_aae'],
)
def test_training(method, tmp_path):
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    complete(campaign.training(method, reference))

    def finished():
        assert not differing(reference, run)
        shutil.rmtree(run)

    phases = campaign.training_phases(run)
    killed = kill(campaign.training(method, run), phases, TRAINING_KILLS, finished)
    campaign.report('kills', f'train {method}', killed, '; checkpoints, logs, grids identical')


@pytest.mark.parametrize('density', ['gaussian_mixture', 'second_stage', 'latent_gan'])
def test_density_fit(density, vectors, tmp_path):
    reference, run = campaign.copies(vectors, tmp_path, 2)
    complete(campaign.fit(reference, density))

    def finished():
        assert not differing(reference, run)
        shutil.rmtree(run / 'densities')

    phases = campaign.fit_phases(density)
    killed = kill(campaign.fit(run, density), phases, DENSITY_KILLS, finished)
    campaign.report('kills', f'fit {density}', killed, '; tensors identical')


@pytest.mark.parametrize('data', ['vectors', 'images'])
def test_evaluation(data, request, network, tmp_path):
    reference, run = campaign.copies(request.getfixturevalue(data), tmp_path, 2)
    commands = [
        campaign.evaluation(folder, network, cache=tmp_path / f'{folder.name}-cache')
        for folder in (reference, run)
    ]
    complete(commands[0])

    def finished():
        assert not differing(reference, run)
        for name in ('run/features', 'run/curves', 'run/tb/scores', 'run-cache'):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        (run / 'scores.jsonl').unlink()

    phases = campaign.evaluation_phases(run, images=data == 'images')
    killed = kill(commands[1], phases, EVALUATION_KILLS, finished)
    campaign.report('kills', f'evaluate {data}', killed, '; scores identical')


def test_export(vectors, tmp_path):
    reference, run = campaign.copies(vectors, tmp_path, 2)
    complete(campaign.export(reference))

    def samples(folder):
        model = tf.saved_model.load(str(folder / 'export' / f'{campaign.STEPS:09d}'))
        sample = model.signatures['sample']
        return sample(num=tf.constant(8), seed=tf.constant(1))['images'].numpy()

    def finished():
        np.testing.assert_array_equal(samples(run), samples(reference))
        shutil.rmtree(run / 'export')

    def before():
        # A program that was killed at its end has written the export, which is not written twice.
        if (run / 'export' / f'{campaign.STEPS:09d}').exists():
            finished()

    phases = [campaign.start(), Phase('save', changed(run / 'export'), 1.0)]
    killed = kill(campaign.export(run), phases, EXPORT_KILLS, finished, before=before)
    campaign.report('kills', 'export', killed, '; samples identical')


def test_reproduce(tmp_path):
    reference, output = tmp_path / 'reference', tmp_path / 'output'
    complete(campaign.reproduce(reference))

    def finished():
        assert not differing(reference, output)
        for run in (reference / 'runs').iterdir():
            assert not differing(run, output / 'runs' / run.name)
        shutil.rmtree(output)

    phases = [
        campaign.start(2.0),
        Phase('train', printed('compiling'), 6.0),
        Phase('fit', printed('fitting'), 6.0),
        Phase('evaluate', printed('standard protocol'), 3.0),
    ]
    killed = kill(campaign.reproduce(output), phases, REPRODUCE_KILLS, finished)
    campaign.report('kills', 'reproduce', killed, '; scores and tables identical')
