"""Storage of densities in a run's folder, and sampling from them."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.checked_files import read_json, write_json
from flexae_tf.config import ExportConfig
from flexae_tf.data import Split
from flexae_tf.densities import DENSITIES, check_name, densities, find, gaussian_mixture
from flexae_tf.errors import CorruptRunError, Interrupted, MissingDataError, UsageError
from flexae_tf.export import export
from flexae_tf.files import lock
from flexae_tf.training.restore import initial_state, open_run, stores
from tests.densities.conftest import DENSITY_STEPS, density_steps


def manifest_of(run, name):
    return densities.density_folder(run, name) / 'density.json'


def test_find_refuses_unknown_names():
    with pytest.raises(UsageError, match='--density=mixture: .*gaussian_mixture.*none'):
        find('mixture')


@pytest.mark.parametrize('name', [None, 'none', *DENSITIES])
def test_check_name_accepts_values_of_the_flag(name):
    check_name(name)


@pytest.mark.parametrize('name', DENSITIES)
def test_fit_stores_a_density_that_samples_and_exports_alike(name, run, dataset, tmp_path):
    own = run.method.sample_latent(5, seed=3).numpy()
    # Fitting must not read the test split.
    without_test = dataclasses.replace(dataset, test=Split(np.full_like(dataset.test.x, np.nan)))
    fitted = densities.fit(run, name, without_test, steps=density_steps(name))
    z = fitted.method.sample_latent(70, seed=3).numpy()
    assert z.shape == (70, 2) and np.isfinite(z).all() and not np.allclose(z[:5], own)
    np.testing.assert_allclose(fitted.method.sample_latent(5, seed=3), z[:5], atol=1e-6)
    opened = densities.open_sampler(run.workdir.path, 'last', name)
    assert opened.density == fitted.density and name in opened.density
    np.testing.assert_allclose(opened.method.sample_latent(70, seed=3), z, atol=1e-6)
    folder = tmp_path / 'export'
    export(ExportConfig(workdir=str(run.workdir.path), density=name, export_dir=str(folder)))
    latents = tf.saved_model.load(str(folder)).signatures['latents']
    exported = latents(num=tf.constant(70), seed=tf.constant(3))['latents']
    np.testing.assert_allclose(exported, z, atol=1e-5)
    card = json.loads((folder / 'model_card.json').read_text())
    assert card['density'] == opened.density
    prior = densities.open_sampler(run.workdir.path, 'last', 'none')
    assert prior.density is None
    np.testing.assert_array_equal(prior.method.sample_latent(5, seed=3), own)


def test_attach_refuses_a_missing_density(run):
    with pytest.raises(MissingDataError, match='--density=gaussian_mixture --checkpoint=30'):
        densities.attach(run, 'gaussian_mixture')


def test_attach_refuses_corrupt_files(run, dataset):
    densities.fit(run, 'gaussian_mixture', dataset)
    manifest = manifest_of(run, 'gaussian_mixture')
    tensors = manifest.with_suffix('.npz')
    content, text = tensors.read_bytes(), manifest.read_text()
    tensors.write_bytes(content[:-1])
    with pytest.raises(CorruptRunError, match='changed'):
        densities.attach(run, 'gaussian_mixture')
    tensors.write_bytes(content)
    for broken in ('{', '[]', '{"sha256": "0"}'):
        manifest.write_text(broken)
        with pytest.raises(CorruptRunError, match=r'density.json:1: .* run bin/fit.py'):
            densities.attach(run, 'gaussian_mixture')
    manifest.write_text(text)
    tensors.unlink()
    with pytest.raises(CorruptRunError, match='Remove .*gaussian_mixture and run bin/fit.py'):
        densities.attach(run, 'gaussian_mixture')


def test_fit_replaces_a_density_of_another_checkpoint(run, dataset):
    densities.fit(run, 'gaussian_mixture', dataset)
    manifest = manifest_of(run, 'gaussian_mixture')
    write_json(manifest, read_json(manifest, object) | {'checkpoint': ['f' * 12]})
    with pytest.raises(CorruptRunError, match='another checkpoint'):
        densities.attach(run, 'gaussian_mixture')
    densities.fit(run, 'gaussian_mixture', dataset)
    assert json.loads(manifest.read_text())['checkpoint'] == [run.digest]
    densities.attach(run, 'gaussian_mixture')


def test_density_remains_valid_after_its_checkpoint_is_removed(run, dataset, monkeypatch):
    _, snapshots = stores(run.workdir, run.config, run.method, initial_state(run.method))
    snapshots.save(run.step)
    both = open_run(run.workdir.path)
    assert both.digest == run.digest and len(both.digests) == 2
    fitted = densities.fit(both, 'latent_gan', dataset, steps=DENSITY_STEPS)
    for path in run.workdir.checkpoints.glob('ckpt-*'):
        path.unlink()
    snapshot = open_run(run.workdir.path, run.step)
    assert snapshot.digest != run.digest and snapshot.digests < both.digests
    assert densities.open_sampler(run.workdir.path, run.step, 'latent_gan').density
    # Neither the density nor the codes that it was fitted to are computed again.
    monkeypatch.setattr(
        type(run.method), 'sample_posterior', lambda *_: pytest.fail('encoded again')
    )
    assert densities.fit(snapshot, 'latent_gan', dataset).density == fitted.density
    manifest_of(run, 'latent_gan').unlink()
    again = densities.fit(snapshot, 'latent_gan', dataset, steps=DENSITY_STEPS)
    assert again.density == fitted.density


@pytest.mark.parametrize('name', DENSITIES)
def test_fit_polls_signals_while_it_encodes(name, run, dataset, monkeypatch):
    polls = itertools.count()
    monkeypatch.setattr(shutdown, 'requested', lambda: 15 if next(polls) == 2 else None)
    with pytest.raises(Interrupted):
        densities.fit(run, name, dataset)
    assert not densities.is_fitted(run, name)


def test_fit_excludes_other_processes(run, dataset, monkeypatch):
    manifest = manifest_of(run, 'gaussian_mixture')
    manifest.parent.mkdir(parents=True)
    with open(manifest.parent.with_suffix('.lock'), 'w') as file:
        lock(file)
        with pytest.raises(UsageError, match='gaussian_mixture: another process'):
            densities.fit(run, 'gaussian_mixture', dataset)
    fitted, text = densities.fit(run, 'gaussian_mixture', dataset).density, manifest.read_text()
    manifest.unlink()
    # Another process finishes while this process waits for the lock.
    monkeypatch.setattr(densities, 'lock', lambda _: manifest.write_text(text))
    monkeypatch.setattr(gaussian_mixture, 'fit', lambda *_: pytest.fail('fitted again'))
    assert densities.fit(run, 'gaussian_mixture', dataset).density == fitted
