"""Figures of hand-made scores and codes."""

import io
import types

import numpy as np
import pytest
from matplotlib import image

from flexae_tf import data, methods
from flexae_tf.densities import densities
from flexae_tf.experiments import figures, paper
from flexae_tf.experiments.figures import LatentView
from flexae_tf.methods.posterior_samples import sample_codes
from tests.experiments.conftest import scores
from tests.experiments.test_tables import capacities, training


def check_image(found, *, width, height):
    """Asserts its size in inches, and that something was drawn in colour."""
    pixels = image.imread(io.BytesIO(found.png), format='png')[..., :3]
    assert pixels.shape[:2] == (round(150 * height), round(150 * width))
    drawn = (pixels < 0.9).any(axis=-1).mean()
    assert 0.005 < drawn < 0.5 and pixels[0, 0].tolist() == [1.0, 1.0, 1.0]
    assert (pixels.max(axis=-1) - pixels.min(axis=-1) > 0.3).mean() > 0.0005
    assert found.name and found.caption


def test_fig2_draws_negative_critic_estimates_and_fig5_each_data_set():
    found = training('wae_normal', [{500: 3.0, 1000: 2.0, 2000: 1.9}, {500: 3.0, 2000: 2.1}])
    found += training('flexae', [{500: 2.0, 1000: 0.2, 2000: 0.1}] * 2)
    negative = training('flexae', [{500: 1.0, 1000: -0.1}, {500: 0.5, 1000: -0.2}])
    other = found + training('ae_gmm', [{500: 2.0, 2000: 1.0}] * 2)
    for (one,) in map(figures.fig2, (found, negative, other)):
        check_image(one, width=12.8, height=5.2)
    assert list(figures.fig2([])) == []
    found = capacities((9, 8, 7)) + capacities((3, 2), dataset='cifar10')
    one, other = figures.fig5(found)
    assert (one.name, other.name) == ('fig5_mnist', 'fig5_cifar10')
    check_image(one, width=9.6, height=3.4)


def test_theorem2_draws_means_by_input_size():
    found = []
    for size in paper.NOISE_DIMS:
        options = {'noise_dim': size, 'training_steps': 1}
        found += scores(1.0 / size, 2.0 / size, options=options)
        for stem in ('sliced_wasserstein_scaled', 'sliced_wasserstein_floor_scaled'):
            found += scores(0.1 / size, stem=stem, set_='latents', options=options)
    (one,) = figures.theorem2(found)
    check_image(one, width=8.4, height=3.2)
    assert next(figures.theorem2(found)).png == one.png  # the same figure has the same bytes


def views(*models):
    """Codes and priors of made-up models, with labels of six components."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 600)
    angles = 2.0 * np.pi * labels / 6
    true = 6.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + rng.normal(size=(600, 2))
    prior = 4.0 * rng.normal(size=(600, 2))
    return {m: LatentView(true * (i + 1), labels, prior, true) for i, m in enumerate(models)}


@pytest.mark.parametrize('models', [tuple(paper.MODELS), ('vae', 'flexae')])
def test_fig3_draws_latent_spaces(models):
    one = figures.fig3(views(*models), {'vae': 3.25})
    check_image(one, width=12.0, height=6.0 if len(models) > 2 else 3.0)


def test_latent_view_has_posterior_samples(config, synthetic, monkeypatch):
    options = methods.resolve(config(method='vae', latent_dim=2), synthetic.spec)
    method = methods.build_method(options, synthetic.spec)
    run = types.SimpleNamespace(method=method, config=options)
    monkeypatch.setattr(densities, 'open_sampler', lambda *which: {('run', 7): run}[which])
    view = figures.latent_view('run', 7)
    assert view.z.shape == view.z_hat.shape == view.latents.shape == (3000, 2)
    order = data.fixed_permutation(len(synthetic.test), data.Purpose.EVALUATION)
    test = synthetic.test.take(order[:3000])
    np.testing.assert_array_equal(view.labels, test.labels)
    np.testing.assert_array_equal(view.latents, test.latents)
    np.testing.assert_array_equal(view.z, sample_codes(method, test.x, seed=0))
    assert np.abs(view.z - method.encode(test.x)).mean() > 0.1
    np.testing.assert_array_equal(view.z_hat, method.sample_latent(3000, 0))


def test_strips_of_methods_are_drawn():
    grey = {m: np.full([8, 40, 1], 90, np.uint8) for m in ('flexae', 'vae', 'injflow_gmm')}
    one = figures.strips('mnist', grey)
    assert one.name == 'methods_mnist'
    pixels = image.imread(io.BytesIO(one.png), format='png')
    assert (np.abs(pixels[..., 0] - 90 / 255) < 0.01).mean() > 0.2
