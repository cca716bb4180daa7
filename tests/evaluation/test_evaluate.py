"""The evaluation program on small runs."""

import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import RESIZES, EvaluateConfig
from flexae_tf.config.evaluate import SETS
from flexae_tf.data.batches import as_float
from flexae_tf.data.decoding import crop_and_resize
from flexae_tf.densities.densities import load_run
from flexae_tf.errors import (
    CorruptRunError,
    Interrupted,
    MissingDataError,
    NonFiniteLossError,
    UsageError,
    UserError,
)
from flexae_tf.evaluation import network_files, preprocessing, verification
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.evaluation.score_log import completed
from flexae_tf.image_grid import to_uint8, write_png
from flexae_tf.metrics.frechet import frechet_distance, moments
from flexae_tf.metrics.memorization import copying_z_score
from flexae_tf.metrics.pixels import nearest_distances, pixel_features, postprocess_images
from flexae_tf.shutdown import GracefulShutdown
from tests.data import faces
from tests.evaluation.conftest import scores_of
from tests.evaluation.networks import frozen_inception
from tests.metrics.test_table import OUTSIDE


@pytest.fixture
def count_images(monkeypatch):
    """Returns a function that counts the images that the network has received."""
    seen = []
    outputs = FeatureNetwork.outputs

    def counted(self, images):
        seen.append(len(images))
        return outputs(self, images)

    monkeypatch.setattr(FeatureNetwork, 'outputs', counted)
    return lambda: sum(seen)


def test_evaluate_vectors_by_definition(run, synthetic, score):
    folder, method = run
    scores = score(folder, metrics='fd')
    assert set(scores) == {f'fd_vectors_10k_{suffix}' for suffix in ('rec', 'gen', 'floor')}
    x = synthetic.test.x
    expected = {
        'rec': method.reconstruct(x),
        'gen': method.sample(10_000, seed=0),
        'floor': synthetic.train.x[:10_000],  # moments do not depend on the order
    }
    for suffix, fake in expected.items():
        value = scores[f'fd_vectors_10k_{suffix}']['value']
        assert value == pytest.approx(frechet_distance(x, np.asarray(fake)), rel=1e-3)
    record = scores['fd_vectors_10k_gen']
    assert record['n'] == 10_000 and record['split'] == 'test' and record['step'] == 10
    assert len(record['protocol']) == 8 and len(record['checkpoint']) == 12
    assert record['protocol_name'] == 'standard'


def test_output_file_receives_all_requested_scores(run, score, tmp_path):
    folder, _ = run
    score(folder, num_examples=300, metrics='fd', sets='samples')
    output = tmp_path / 'output.jsonl'
    fresh = score(
        folder, num_examples=300, metrics='fd,prd', sets='samples', output_file=str(output)
    )
    stems = [record['stem'] for record in read_jsonl(output)]
    assert stems == ['fd', 'prd_precision', 'prd_recall'] and len(fresh) == 2
    kept = {record['metric']: record for record in scores_of(folder)}
    assert read_jsonl(output) == [kept[record['metric']] for record in read_jsonl(output)]


def test_split_train_compares_other_training_examples(run, synthetic, score):
    folder, method = run
    scores = score(folder, num_examples=300, metrics='fd', split='train')
    x = synthetic.train.x
    expected = {'rec': np.asarray(method.reconstruct(x[:300])), 'floor': x[300:600]}
    for suffix, fake in expected.items():
        value = scores[f'fd_vectors_300_{suffix}']['value']
        assert value == pytest.approx(frechet_distance(x[:300], fake), rel=1e-3)


def test_evaluate_computes_every_metric(run, score):
    folder, method = run
    scores = score(folder, num_examples=300, sets='reconstructions,samples,train,latents')
    stems = {record['stem'] for record in scores.values() if record['set'] != 'latents'}
    assert stems == {
        *('fd', 'kd', 'prd_precision', 'prd_recall', 'improved_precision', 'improved_recall'),
        *('density', 'coverage', 'fd_infinity'),
    }
    assert {record['set'] for record in scores.values()} == set(SETS)
    ids = {(record['fields']['estimator'], record['protocol']) for record in scores.values()}
    assert len({id_ for _, id_ in ids}) == len(ids) == 8
    codes = {r['stem']: r['value'] for r in scores.values() if r['set'] == 'latents'}
    for stem in ('sliced_wasserstein', 'sliced_wasserstein_floor', 'critic_distance'):
        assert codes[f'{stem}_scaled'] == pytest.approx(codes[stem] / codes['z_scale'])
    assert codes['sliced_wasserstein_floor'] < codes['sliced_wasserstein']
    assert 1.0 <= codes['z_rank'] <= method.config.latent_dim


def test_evaluate_again_prints_recorded_scores(run, score, capsys):
    folder, _ = run
    options = dict(num_examples=500, metrics='fd,kid,prd')
    first = score(folder, **options)
    printed = capsys.readouterr().out
    assert not score(folder, **options), 'recorded twice'
    again = capsys.readouterr().out
    for line in printed.splitlines():
        if 'protocol' in line:
            assert line.removesuffix(')') + '; recorded before)' in again
    os.rename(folder / 'scores.jsonl', folder / 'first.jsonl')
    second = score(folder, **options)
    assert {k: r['value'] for k, r in first.items()} == {k: r['value'] for k, r in second.items()}
    fewer = score(folder, num_examples=400)['fd_vectors_400_gen']
    assert fewer['protocol'] != first['fd_vectors_500_gen']['protocol']


def test_repeats_and_bootstrap_give_standard_deviations(run, score):
    folder, method = run
    x = data.fixed_permutation(10_000, data.Purpose.EVALUATION)[:200]
    scores = score(folder, metrics='fd', num_examples=200, repeats=3, bootstrap=10, sample_seed=5)
    test = data.load(method.config).test.x[x]
    distances = [frechet_distance(test, method.sample(200, seed=s).numpy()) for s in (5, 6, 7)]
    gen, rec = scores['fd_vectors_200_gen'], scores['fd_vectors_200_rec']
    assert gen['value'] == pytest.approx(np.mean(distances), rel=1e-4)
    assert gen['sd'] == pytest.approx(np.std(distances, ddof=1), rel=1e-2)
    assert rec['sd'] is None and rec['repeats'] == 1
    assert gen['bootstrap_sd'] > 0 and rec['bootstrap_sd'] > 0


def test_faces_of_celeba_are_scored_on_their_test_split(tmp_path, here, score):
    codes = faces.sample(60)
    faces.write(tmp_path / 'faces', codes)
    flags = [
        '--method=vae',
        '--dataset=celeba',
        f'--data_dir={tmp_path}/faces',
        '--celeba_crop=146',
    ]
    flags += ['--network=mnist', '--batch_size=8', '--training_steps=2']
    here('train', *flags, f'--workdir={tmp_path}/run')
    scores = score(tmp_path / 'run', metrics='fd', features='pixels')
    assert set(scores) == {f'fd_pixels_6_{suffix}' for suffix in ('rec', 'gen', 'floor')}
    method = load_run(tmp_path / 'run')
    x = crop_and_resize(faces.draw(codes[-6:]), size=64, crop=146)
    x_hat = to_uint8(method.reconstruct(x).numpy())
    expected = frechet_distance(*(pixel_features(images) for images in (x.numpy(), x_hat)))
    assert scores['fd_pixels_6_rec']['value'] == pytest.approx(expected, rel=0.01)  # JPEG
    for record in scores.values():
        assert record['split'] == 'test' and record['fields']['crop'] == 146


# Networks


def test_unknown_network_gives_no_fid(own, score):
    folder, network = own
    scores = score(folder, num_examples=40, metrics='fd', **network)
    assert set(scores) == {f'fd_pool_3_40_{suffix}' for suffix in ('rec', 'gen', 'floor')}
    assert all(record['n'] == 40 and record['value'] >= 0 for record in scores.values())
    other = score(folder, num_examples=40, metrics='fd', features='pixels')
    assert other['fd_pixels_40_gen']['protocol'] != scores['fd_pool_3_40_gen']['protocol']


def test_features_are_computed_once_per_image(own, score, count_images, tmp_path):
    folder, network = own
    golden = verification.IMAGES
    score(folder, num_examples=40, metrics='fd', **network)
    assert count_images() == golden + 4 * 40  # test, reconstructions, samples, train
    score(folder, num_examples=40, **network)  # all other metrics
    assert count_images() == 2 * golden + 4 * 40
    assert len(list((folder / 'features').glob('*.npz'))) == 2
    assert len(list((tmp_path / 'cache' / 'features').glob('*.npz'))) == 2
    torn = next((folder / 'features').glob('*.npz'))
    torn.write_bytes(torn.read_bytes()[:100])
    os.remove(folder / 'scores.jsonl')
    score(folder, num_examples=40, metrics='fd', **network)
    assert count_images() == 3 * golden + 5 * 40


@pytest.mark.parametrize('kind', ['vectors', 'images'])
def test_scores_do_not_depend_on_the_number_of_devices(run, own, score, tmp_path, kind, capsys):
    folder, options = (run[0], {}) if kind == 'vectors' else own
    if kind == 'images':
        options = options | dict(recalibrate_batch_norm=2)
    options = dict(num_examples=41, batch_size=8, repeats=2, sets=','.join(SETS), **options)
    copy = tmp_path / 'copy'
    shutil.copytree(folder, copy)
    two = score(folder, distribution='mirrored', **options)
    shutil.rmtree(tmp_path / 'cache', ignore_errors=True)
    one = score(copy, distribution='none', **options)
    computed = capsys.readouterr().out.count('features of test examples: 41 images')
    assert computed == (2 if kind == 'images' else 0)
    assert two.keys() == one.keys() and len(one) > 5
    for name, record in one.items():
        for field in ('value', 'sd', 'protocol', 'id'):
            assert two[name][field] == record[field], name


def test_evaluate_resumes_after_interrupt(own, score, monkeypatch, tmp_path):
    folder, network = own
    monkeypatch.setattr('flexae_tf.evaluation.features.BLOCK', 10)
    options = dict(num_examples=40, metrics='fd,prd', batch_size=5, **network)
    whole = score(folder, **options)
    for name in ('scores.jsonl', 'features'):
        os.rename(folder / name, folder / f'whole-{name}')
    os.rename(tmp_path / 'cache', tmp_path / 'whole-cache')
    outputs, calls = FeatureNetwork.outputs, itertools.count()

    def stopping(self, images):
        if next(calls) == 15:  # during the features of the test images
            os.kill(os.getpid(), signal.SIGTERM)
        return outputs(self, images)

    monkeypatch.setattr(FeatureNetwork, 'outputs', stopping)
    with pytest.raises(Interrupted) as stopped, GracefulShutdown():
        score(folder, **options)
    assert stopped.value.exit_code == 143
    kept = len(list((folder / 'features').glob('*.npz')))
    assert 0 < kept < 8
    resumed = score(folder, **options)
    # Call 15 finished its batch; its block of two batches may be incomplete.
    assert next(calls) - 16 in (1 + 4 * 8 - 15, 1 + 4 * 8 - 14), 'finished blocks were repeated'
    assert {k: r['value'] for k, r in resumed.items()} == {k: r['value'] for k, r in whole.items()}


def test_scores_do_not_depend_on_batch_size(own, score, tmp_path):
    folder, network = own
    values = []
    for batch_size in (1, 7, 50, 128):
        options = dict(num_examples=40, metrics='fd', batch_size=batch_size)
        values.append(score(folder, **options, **network)['fd_pool_3_40_gen']['value'])
        os.remove(folder / 'scores.jsonl')
        os.rename(folder / 'features', tmp_path / f'features{batch_size}')
        os.rename(tmp_path / 'cache', tmp_path / f'cache{batch_size}')
    assert np.ptp(values) < 1e-4


def test_evaluate_refuses_changed_golden_features(own, score, tmp_path):
    folder, network = own
    score(folder, num_examples=40, metrics='fd', **network)
    record = next((tmp_path / 'cache' / 'golden_features').glob('*.json'))
    record.write_text(record.read_text().replace('0.', '0.9'))
    with pytest.raises(MissingDataError, match='golden'):
        score(folder, num_examples=40, metrics='kid', **network)


def test_feature_layer_is_any_output(own, score):
    folder, network = own
    options = dict(num_examples=40, metrics='fd', sets='samples', **network)
    assert set(score(folder, feature_layer='probe', **options)) == {'fd_probe_40_gen'}
    with pytest.raises(MissingDataError, match='--feature_layer=vgg: .* pool_3, pool_4d, probe'):
        score(folder, feature_layer='vgg', **options)


# Metrics and densities


def test_pairs_are_scored_on_pixels_with_every_network(own, score):
    folder, network = own
    scores = score(folder, num_examples=40, metrics='fd,kid,prd,psnr,ssim', **network)
    of_pairs = {f'{stem}_pixels_40_rec' for stem in ('psnr', 'ssim')}
    stems = ('fd', 'kd', 'prd_precision', 'prd_recall')
    assert set(scores) == of_pairs | {
        f'{stem}_pool_3_40_{suffix}' for stem in stems for suffix in ('rec', 'gen', 'floor')
    }
    found = {name: record for name, record in scores.items() if name in of_pairs}
    for record in found.values():
        assert (record['fields']['features'], record['fields']['network']) == ('pixels', None)
        assert record['protocol_name'] == 'standard'
    assert not score(folder, num_examples=40, metrics='psnr,ssim', features='pixels')
    method = load_run(folder)
    dataset = data.load(method.config)
    x = dataset.test.x[data.fixed_permutation(len(dataset.test), data.Purpose.EVALUATION)[:40]]
    x_hat = to_uint8(method.reconstruct(tf.constant(x / np.float32(255))).numpy())
    values = tf.image.psnr(x, x_hat, 255), tf.image.ssim(tf.constant(x), tf.constant(x_hat), 255)
    for record, value in zip(found.values(), values, strict=True):
        assert record['value'] == pytest.approx(float(np.mean(value)), rel=1e-4, abs=1e-5)
    stretched = score(folder, num_examples=40, metrics='psnr', minmax_normalize=True, **network)
    assert stretched['psnr_pixels_40_rec']['protocol'] != found['psnr_pixels_40_rec']['protocol']


def test_named_metrics_select_their_sets(own, score, monkeypatch):
    folder, _ = own
    options = dict(num_examples=40, sets=','.join(SETS), features='pixels')
    assert {r['set'] for r in score(folder, metrics='codes', **options).values()} == {'latents'}
    of_pairs = score(folder, metrics='psnr', **options | {'sets': 'reconstructions,samples'})
    assert {r['set'] for r in of_pairs.values()} == {'reconstructions'}
    for metrics in ('codes', 'psnr'):
        with pytest.raises(UsageError, match=f'--metrics={metrics}: .* --sets=samples'):
            score(folder, metrics=metrics, **options | {'sets': 'samples'})


def test_transport_is_scored_only_if_named(run, score):
    folder, _ = run
    options = dict(num_examples=60, sets='latents')
    first = score(folder, **options)
    named = score(folder, metrics='codes,transport', **options)  # the scores of codes are recorded
    stems = {f'wasserstein{a}{b}' for a in ('', '_floor') for b in ('', '_scaled')}
    assert {record['stem'] for record in named.values()} == stems
    value = named['wasserstein_60_codes']['value']
    scale = first['z_scale_60_codes']['value']
    assert value > first['sliced_wasserstein_60_codes']['value']
    assert named['wasserstein_scaled_60_codes']['value'] == pytest.approx(value / scale)
    for metrics, expected in ((None, first), ('codes,transport', named)):
        request = EvaluateConfig(workdir='x', metrics=metrics, **options).identity_hash()
        done = {record['metric'] for record in completed(folder / 'scores.jsonl', request)}
        assert expected.keys() <= done and ('wasserstein_60_codes' in done) == bool(metrics)


def test_memorization_compares_with_the_training_images_of_the_run(own, score):
    folder, network = own
    options = dict(num_examples=40, metrics='memorization', **network)
    scores = score(folder, **options)
    stems = ('memorization_z', 'train_distance', 'train_distance_real')
    assert set(scores) == {f'{stem}_pixels_40_{s}' for stem in stems for s in ('rec', 'gen')}
    method = load_run(folder)
    dataset = data.load(method.config)
    x = dataset.test.x[data.fixed_permutation(len(dataset.test), data.Purpose.EVALUATION)[:40]]
    of_real = nearest_distances(x, dataset.train.x)
    for suffix, fake in (('rec', method.reconstruct(as_float(x))), ('gen', method.sample(40, 0))):
        found = nearest_distances(to_uint8(fake.numpy()), dataset.train.x)
        expected = copying_z_score(of_real, found), np.median(found), np.median(of_real)
        for stem, value in zip(stems, expected, strict=True):
            record = scores[f'{stem}_pixels_40_{suffix}']
            assert record['value'] == pytest.approx(value, rel=1e-6)
            assert record['fields']['train'] == data.fingerprint(dataset.train.x)
            assert (record['fields']['features'], record['fields']['network']) == ('pixels', None)
    # Stretch and rounding of fakes have no effect.
    assert not score(folder, quantization='none', minmax_normalize=True, **options)


def test_memorization_needs_new_images(run, own, score):
    with pytest.raises(UsageError, match='--metrics=memorization: needs images'):
        score(run[0], num_examples=40, metrics='memorization')
    options = dict(num_examples=40, features='pixels', split='train')
    with pytest.raises(UsageError, match='--metrics=memorization: .* Use --split=test'):
        score(own[0], metrics='fd,memorization', **options)
    assert {r['stem'] for r in score(own[0], metrics='fd', **options).values()} == {'fd'}


def test_metrics_of_pairs_need_images(run, score):
    with pytest.raises(UsageError, match=r'--metrics=ssim: needs images .* not \[128\]'):
        score(run[0], num_examples=50, metrics='ssim')
    assert not any('psnr' in name for name in score(run[0], num_examples=50))


def test_few_examples_for_the_dimension_are_warned_of_once(run, score, capsys):
    score(run[0], num_examples=128, metrics='kid')
    score(run[0], num_examples=129, metrics='fd')
    assert 'WARNING' not in capsys.readouterr().out
    score(run[0], num_examples=128, metrics='fd,fd_infinity')
    warnings = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    assert len(warnings) == 1
    for words in ('fd, fd_infinity: 128 examples', '128 dimensions', '--metrics=kid'):
        assert words in warnings[0]


def test_metric_from_outside_is_scored(run, score, tmp_path, monkeypatch):
    (tmp_path / 'gap_metrics.py').write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    scores = score(run[0], num_examples=50, metrics='fd,gap_metrics:GAP', sets='samples,latents')
    assert scores['mean_gap_vectors_50_gen']['fields']['estimator'] == 'mean_gap_v1'
    assert {'fd_vectors_50_gen', 'z_scale_50_codes'} <= set(scores)
    assert not score(run[0], num_examples=50, metrics='gap_metrics:GAP', sets='samples')


def test_metrics_must_be_known(refused_here, run):
    flags = [f'--workdir={run[0]}', '--metrics=fd,fid']
    refused_here(2, ['--metrics=fid', 'fd, kid, prd'], 'evaluate', *flags)


def test_metrics_must_accept_statistics(run, score):
    with pytest.raises(UsageError, match='--metrics=fd'):
        score(run[0], num_examples=50, metrics='kid', reference_statistics='x')


def test_missing_density_is_fitted_on_request_only(run, score):
    folder, _ = run
    options = dict(num_examples=50, metrics='fd', density='gaussian_mixture')
    with pytest.raises(MissingDataError, match='bin/fit.py .*--density=gaussian_mixture'):
        score(folder, **options)
    scores = score(folder, fit_missing=True, **options)
    gen, rec = scores['fd_vectors_50_gen'], scores['fd_vectors_50_rec']
    assert gen['density'].startswith('gaussian_mixture-') and rec['density'] is None
    assert set(score(folder, sets='samples', num_examples=50, metrics='fd')) == {
        'fd_vectors_50_gen'
    }


def test_scores_are_completed_per_request(run, score):
    folder, _ = run
    options = dict(num_examples=50, metrics='fd,prd', sets='samples')
    score(folder, num_examples=50, metrics='fd', sets='samples')
    score(folder, **options)
    request = EvaluateConfig(workdir='x', **options).identity_hash()
    done = completed(folder / 'scores.jsonl', request)
    assert [record['stem'] for record in done] == ['fd', 'prd_precision', 'prd_recall']
    assert completed(folder / 'scores.jsonl', request, done[0]['checkpoint']) == done
    content = (folder / 'scores.jsonl').read_text()
    score(folder, **options)
    assert (folder / 'scores.jsonl').read_text() == content


# Protocols


def test_protocol_authors_takes_minimum_of_late_checkpoints(own, score):
    folder, _ = own
    scores = score(folder, num_examples=40, protocol='authors', features='pixels')
    late = [record for record in scores_of(folder) if record['set'] == 'samples']
    assert sorted({record['step'] for record in late}) == [8, 12, 13]  # from 8/13 of 13 on
    smallest = min(r['value'] for r in late if r['metric'] == 'fd_pixels_40_gen')
    record = scores['fd_pixels_40_gen_min']
    assert record['value'] == smallest and record['selection'] == 'test'
    assert record['fields']['selection'] == 'minimum_of_late'
    assert record['candidates'] == [8, 12, 13]
    assert not score(folder, num_examples=40, protocol='authors', features='pixels')
    of_all = score(
        folder, num_examples=40, protocol='authors', features='pixels', checkpoint='all'
    )['fd_pixels_40_gen_min']
    assert of_all['protocol'] != record['protocol'] and of_all['value'] <= record['value']
    assert record['protocol_name'] == 'authors'
    assert record['protocol'] != scores['fd_pixels_40_gen']['protocol']
    run_config = load_run(folder).config
    dataset = data.load(run_config)
    x = (
        dataset.test.x[data.fixed_permutation(len(dataset.test), data.Purpose.EVALUATION)[:40]]
        / 255.0
    )
    x_hat = load_run(folder, 8).reconstruct(tf.constant(x, tf.float32)).numpy()
    low, high = (f(x_hat, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    stretched = (x_hat - low) / (high - low)
    expected = frechet_distance(x.reshape(40, -1), stretched.reshape(40, -1))
    found = next(r for r in scores_of(folder) if r['step'] == 8)
    assert found['metric'] == 'fd_pixels_40_rec'
    assert found['value'] == pytest.approx(expected, rel=1e-4)


def test_protocol_differs_for_every_switch(own, score):
    folder, network = own
    options = dict(num_examples=40, metrics='fd', **network)
    switches = [
        {},
        dict(minmax_normalize=True),
        dict(quantization='none'),
        dict(resize='half_pixel_bilinear'),
        dict(split='validation'),
    ]
    options['sets'] = 'samples'
    records = [score(folder, **{**options, **switch})['fd_pool_3_40_gen'] for switch in switches]
    assert len({record['protocol'] for record in records}) == len(switches)
    assert len({record['value'] for record in records}) == len(switches)
    assert [record['protocol_name'] for record in records] == ['standard'] + 3 * ['custom'] + [
        'standard'
    ]


def test_postprocess_images_by_hand():
    x = np.array([[0.2, 0.4], [0.7, 0.7]], np.float32).reshape(2, 1, 2, 1)
    np.testing.assert_array_equal(postprocess_images(x), to_uint8(x))
    np.testing.assert_allclose(
        postprocess_images(x, quantization='none').ravel(), [51, 102, 178.5, 178.5]
    )
    stretched = postprocess_images(x, minmax_normalize=True).ravel()
    np.testing.assert_array_equal(stretched, [0, 255, 178, 178])  # a constant image stays
    vectors = np.array([[3.0, -3.0]])
    assert postprocess_images(vectors) is vectors
    np.testing.assert_allclose(
        pixel_features(postprocess_images(x)).ravel(), to_uint8(x).ravel() / 255.0
    )


def test_score_log_completes_a_cut_group(run, score):
    folder, _ = run
    first = score(folder, num_examples=60, metrics='prd', sets='samples')
    lines = (folder / 'scores.jsonl').read_text().splitlines(keepends=True)
    assert len(lines) == 3  # the last one closes the request
    (folder / 'scores.jsonl').write_text(lines[0] + lines[1][:20])
    score(folder, num_examples=60, metrics='prd', sets='samples')
    values = [(r['metric'], r['value']) for r in read_jsonl(folder / 'scores.jsonl') if 'stem' in r]
    assert values == [(name, record['value']) for name, record in first.items()]


def test_bootstrap_recomputes_only_its_metric(run, score):
    folder, _ = run
    score(folder, num_examples=60, sets='samples')
    added = score(folder, num_examples=60, sets='samples', bootstrap=5)
    assert set(added) == {'fd_vectors_60_gen'}


def test_floor_is_postprocessed_like_scored_images(own, score):
    folder, _ = own
    options = dict(num_examples=40, metrics='fd', sets='train', features='pixels')
    dataset = data.load(load_run(folder).config)
    real = dataset.test.x[data.fixed_permutation(len(dataset.test), data.Purpose.EVALUATION)[:40]]
    train = dataset.train.x[:40]
    plain = score(folder, **options)['fd_pixels_40_floor']['value']
    assert plain == pytest.approx(frechet_distance(pixel_features(real), pixel_features(train)))
    stretched = score(folder, minmax_normalize=True, **options)['fd_pixels_40_floor']['value']
    expected = pixel_features(postprocess_images(train / np.float32(255), minmax_normalize=True))
    assert stretched == pytest.approx(frechet_distance(pixel_features(real), expected))


def test_evaluate_refuses_values_that_are_not_finite(own, score, monkeypatch):
    folder, network = own
    outputs = FeatureNetwork.outputs

    def corrupt(self, images):
        result = outputs(self, images)
        if len(images) > verification.IMAGES:  # not the golden ones
            result.features[0, 0] = np.nan
        return result

    monkeypatch.setattr(FeatureNetwork, 'outputs', corrupt)
    with pytest.raises(NonFiniteLossError):
        score(folder, num_examples=40, metrics='fd', **network)
    assert not list((folder / 'features').glob('*.npz')), 'a corrupt block was kept'
    monkeypatch.setattr('flexae_tf.methods.flexae.FlexAE.encode', lambda _, x: x[:, 0, :, 0] / 0.0)
    with pytest.raises(NonFiniteLossError, match='not finite'):
        score(folder, num_examples=40, sets='latents', features='pixels')
    assert not scores_of(folder)


# Checkpoints


def test_best_validation_ignores_the_test_set(own, score):
    folder, _ = own
    scores = score(
        folder, num_examples=40, checkpoint='best_validation', metrics='fd', features='pixels'
    )
    records = scores_of(folder)
    tried = [r for r in records if r['split'] == 'validation']
    assert [r['step'] for r in tried] == [4, 8, 12, 13]
    best = min(tried, key=lambda r: r['value'])['step']
    gen = scores['fd_pixels_40_gen']
    assert gen['split'] == 'test' and gen['step'] == best
    assert gen['selection'] == 'best_validation'
    assert [r['step'] for r in records if r['split'] == 'test' and r['set'] == 'samples'] == [best]


def test_best_validation_leaves_the_statistics_of_the_test_set(own, score, tmp_path):
    folder, _ = own
    statistics = str(tmp_path / 'real.npz')
    options = dict(num_examples=40, sets='samples', metrics='fd', features='pixels')
    options['checkpoint'] = 'best_validation'
    written = score(folder, write_statistics=statistics, **options)['fd_pixels_40_gen']
    os.remove(folder / 'scores.jsonl')
    found = score(folder, reference_statistics=statistics, **options)['fd_pixels_40_gen']
    assert found['value'] == pytest.approx(written['value']) and found['split'] == 'test'
    assert found['protocol'] == written['protocol'] and found['step'] == written['step']


def test_checkpoint_all_scores_every_step(own, score):
    folder, _ = own
    score(folder, num_examples=40, checkpoint='all', metrics='fd', features='pixels')
    records = scores_of(folder)
    assert [r['step'] for r in records if r['set'] == 'samples'] == [4, 8, 12, 13]
    assert len([r for r in records if r['set'] == 'train']) == 1


def test_evaluate_skips_corrupt_checkpoint_of_several(own, score, capsys):
    folder, _ = own
    options = dict(num_examples=40, metrics='fd', sets='samples', features='pixels')
    for path in folder.glob('checkpoints/weights-000000004.data*'):
        path.write_bytes(b'')
    score(folder, checkpoint='all', **options)
    steps = [record['step'] for record in scores_of(folder)]
    assert steps == [8, 12, 13]
    assert 'step 4' in capsys.readouterr().out
    with pytest.raises(CorruptRunError, match='step 4'):
        score(folder, checkpoint='4', **options)
    for path in folder.glob('checkpoints/ckpt-000000012.data*'):
        path.write_bytes(b'')  # the snapshot has the same weights
    assert score(folder, checkpoint='12', sample_seed=1, **options)


def test_evaluate_skips_removed_checkpoint_of_several(own, score, monkeypatch):
    from flexae_tf.evaluation import evaluate as program

    folder, _ = own
    monkeypatch.setattr(program, 'saved_steps', lambda _: [8, 11, 12])
    options = dict(num_examples=40, metrics='fd', sets='samples', features='pixels')
    score(folder, checkpoint='all', **options)
    assert [record['step'] for record in scores_of(folder)] == [8, 12]
    with pytest.raises(MissingDataError, match='no checkpoint of step 11'):
        score(folder, checkpoint='11', **options)


def test_evaluate_scores_newer_checkpoints_if_all_selected_were_removed(own, score, monkeypatch):
    from flexae_tf.evaluation import evaluate as program

    folder, _ = own
    listed = iter([[8], [5, 6], [5, 6, 8, 12]])
    monkeypatch.setattr(program, 'saved_steps', lambda _: next(listed))
    options = dict(num_examples=40, metrics='fd', sets='samples', features='pixels')
    score(folder, checkpoint='all', **options)
    assert [record['step'] for record in scores_of(folder)] == [8, 12]
    monkeypatch.setattr(program, 'saved_steps', lambda _: [5, 6])
    with pytest.raises(CorruptRunError, match='no requested checkpoint is valid'):
        score(folder, checkpoint='all', **options)


def test_best_validation_needs_its_checkpoint_only_once(own, score, monkeypatch):
    from flexae_tf.evaluation import evaluate as program

    folder, _ = own
    select = program._best_run

    def select_and_remove(*args):
        best = select(*args)
        for path in folder.glob('checkpoints/*'):
            path.unlink()
        return best

    monkeypatch.setattr(program, '_best_run', select_and_remove)
    options = dict(num_examples=40, metrics='fd', sets='samples', features='pixels')
    expected = {step: score(folder, checkpoint=str(step), **options) for step in (8, 13)}
    # The best is not the last to be opened.
    monkeypatch.setattr(program, '_candidate_steps', lambda *_: [8, 13, 4])
    (fd,) = score(folder, checkpoint='best_validation', **options).values()
    assert fd['split'] == 'test' and fd['selection'] == 'best_validation'
    assert fd['value'] == expected[fd['step']]['fd_pixels_40_gen']['value']


# Statistics in a file


def test_reference_statistics_replace_real_features(own, score, tmp_path):
    folder, _ = own
    options = dict(num_examples=40, metrics='fd', features='pixels')
    path = str(tmp_path / 'real.npz')
    plain = score(folder, write_statistics=path, **options)
    with np.load(path) as arrays:
        assert {'mu', 'sigma', 'n', 'id'} <= set(arrays)
        assert arrays['n'] == 40 and str(arrays['id']) == plain['fd_pixels_40_gen']['protocol']
    os.remove(folder / 'scores.jsonl')
    by_file = score(folder, reference_statistics=path, **options)
    assert set(by_file) == set(plain)
    for name, record in by_file.items():
        assert record['value'] == pytest.approx(plain[name]['value'], rel=1e-6, abs=1e-9)
        assert record['protocol'] == plain[name]['protocol']
    authors = score(folder, reference_statistics=path, minmax_normalize=True, **options)
    assert authors, 'the treatment of fakes does not affect the real side'
    with pytest.raises(UsageError, match='num=40 and 30'):
        score(folder, reference_statistics=path, **{**options, 'num_examples': 30})
    with pytest.raises(UsageError, match='split=test and validation'):
        score(folder, reference_statistics=path, split='validation', **options)


def test_unverified_statistics_need_permission(own, score, tmp_path):
    folder, _ = own
    options = dict(num_examples=40, metrics='fd', features='pixels')
    path = str(tmp_path / 'unverified.npz')
    real = moments(np.random.default_rng(0).random([50, 28 * 28]))
    np.savez(path, mu=real.mean, sigma=real.covariance)
    with pytest.raises(UsageError, match='--allow_unverified_statistics'):
        score(folder, reference_statistics=path, **options)
    scores = score(folder, reference_statistics=path, allow_unverified_statistics=True, **options)
    assert set(scores) == {
        f'fd_pixels_40_{suffix}_unverified' for suffix in ('rec', 'gen', 'floor')
    }
    own_id = score(folder, **options)['fd_pixels_40_gen']['protocol']
    assert scores['fd_pixels_40_gen_unverified']['protocol'] != own_id
    np.savez(path, mu=real.mean[:5], sigma=real.covariance[:5, :5])
    with pytest.raises(UsageError, match='5 dimensions'):
        score(folder, reference_statistics=path, allow_unverified_statistics=True, **options)
    np.savez(path, mu=real.mean * np.nan, sigma=real.covariance)
    with pytest.raises(MissingDataError, match='not finite'):
        score(folder, reference_statistics=path, allow_unverified_statistics=True, **options)
    np.savez(path, mu=real.mean, sigma=real.covariance[:5])
    with pytest.raises(MissingDataError, match='do not fit'):
        score(folder, reference_statistics=path, allow_unverified_statistics=True, **options)
    np.savez(path, mu=real.mean, sigma=real.covariance, protocol='{"num": 3}')
    with pytest.raises(MissingDataError, match='--reference_statistics'):
        score(folder, reference_statistics=path, **options)
    (tmp_path / 'unverified.npz').write_bytes(b'no')
    with pytest.raises(MissingDataError, match='--reference_statistics'):
        score(folder, reference_statistics=path, allow_unverified_statistics=True, **options)


# Images from files


def write_images(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        write_png(folder / f'{i:03d}.png', image)


def some_images(seed, num=60):
    return np.random.default_rng(seed).integers(0, 256, size=[num, 8, 8, 3]).astype(np.uint8)


def test_evaluate_two_sets_of_images(tmp_path):
    real, fake = some_images(0), some_images(1) // 2
    write_images(tmp_path / 'real', real)
    np.savez(tmp_path / 'fake.npz', images=fake)
    output = tmp_path / 'scores.jsonl'
    options = dict(real=str(tmp_path / 'real'), fake=str(tmp_path / 'fake.npz'))
    options |= dict(output_file=str(output), features='pixels', cache_dir=str(tmp_path / 'cache'))
    evaluate(EvaluateConfig(**options))
    scores = {r['metric']: r for r in read_jsonl(output) if 'metric' in r}
    expected = frechet_distance(pixel_features(real), pixel_features(fake))
    assert scores['fd_pixels_60_fake']['value'] == pytest.approx(expected, rel=1e-6)
    assert not any(name.endswith('floor') for name in scores)
    evaluate(EvaluateConfig(**options, num_examples=30, metrics='fd'))
    scores = {r['metric']: r for r in read_jsonl(output) if 'metric' in r}
    lines = output.read_text()
    evaluate(EvaluateConfig(**options, num_examples=30, metrics='fd'))
    assert output.read_text() == lines
    assert scores['fd_pixels_30_floor']['value'] < scores['fd_pixels_30_fake']['value']


def test_evaluate_refuses_unusable_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # receives the list of bad images
    write_images(tmp_path / 'good', some_images(0, 3))
    write_images(tmp_path / 'mixed', some_images(0, 2))
    write_png(tmp_path / 'mixed' / 'other.png', some_images(0, 1)[0, :4])
    write_images(tmp_path / 'broken', some_images(0, 2))
    (tmp_path / 'broken' / '001.png').write_bytes(b'not an image')
    write_images(tmp_path / 'one', some_images(0, 1))
    (tmp_path / 'empty').mkdir()
    for name, code, words in [
        ('mixed', 3, ['other.png: 8x4', '--resize_to']),
        ('broken', 3, ['001.png']),
        ('empty', 3, ['no images']),
        ('nowhere', 3, ['does not exist']),
        ('one', 2, ['at least 2']),
        ('good', 2, ['--metrics=prd', 'at least 20']),
    ]:
        options = dict(real=str(tmp_path / 'good'), fake=str(tmp_path / name), features='pixels')
        with pytest.raises(UserError) as error:
            evaluate(EvaluateConfig(**options, metrics='fd,prd'))
        assert error.value.exit_code == code
        assert all(word in str(error.value) for word in words), error.value


def test_evaluate_two_sets_by_both_protocols(trained, tmp_path):
    np.savez(tmp_path / 'real.npz', images=some_images(0))
    np.savez(tmp_path / 'fake.npz', images=some_images(1) // 2)
    options = dict(real=str(tmp_path / 'real.npz'), fake=str(tmp_path / 'fake.npz'))
    options |= dict(inception_path=str(trained / 'network'), cache_dir=str(tmp_path / 'cache'))
    values = []
    for protocol in ('standard', 'authors'):
        output = tmp_path / f'{protocol}.jsonl'
        evaluate(
            EvaluateConfig(**options, protocol=protocol, metrics='fd', output_file=str(output))
        )
        (record,) = [r for r in read_jsonl(output) if 'stem' in r]
        assert record['metric'] == 'fd_pool_3_60_fake' and record['protocol_name'] == protocol
        values.append(record['value'])
    assert values[0] != values[1]


def test_declared_network_names_its_scores(tmp_path):
    class Means(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def __call__(self, images):
            return {'mean': tf.reduce_mean(images, axis=[1, 2])}

    tf.saved_model.save(Means(), str(tmp_path / 'net'))
    declaration = dict(name='means', image_size=8, value_range=[0, 1], resize='tf1_bilinear')
    (tmp_path / 'net' / 'feature_network.json').write_text(json.dumps(declaration))
    np.savez(tmp_path / 'real.npz', images=some_images(0))
    np.savez(tmp_path / 'fake.npz', images=some_images(1) // 2)
    options = dict(real=str(tmp_path / 'real.npz'), fake=str(tmp_path / 'fake.npz'))
    options |= dict(feature_network=str(tmp_path / 'net'), cache_dir=str(tmp_path / 'cache'))
    output = tmp_path / 'scores.jsonl'
    evaluate(EvaluateConfig(**options, metrics='fd,kid', output_file=str(output)))
    records = {r['metric']: r for r in read_jsonl(output) if 'metric' in r}
    assert set(records) == {'fd_means_mean_60_fake', 'kd_means_mean_60_fake'}
    fields = records['fd_means_mean_60_fake']['fields']
    assert (fields['features'], fields['network_name']) == ('network', 'means')
    assert fields['resize'] == 'tf1_bilinear_8' and fields['layer'] == 'mean'
    with pytest.raises(UsageError, match='--resize=antialiased_bicubic: the declaration'):
        EvaluateConfig(**options, resize='antialiased_bicubic')
    with pytest.raises(UsageError, match='two networks'):
        EvaluateConfig(**options, inception_path=str(tmp_path / 'net'))


def test_output_file_must_take_scores(tmp_path):
    np.savez(tmp_path / 'a.npz', images=some_images(0))
    options = dict(real=str(tmp_path / 'a.npz'), fake=str(tmp_path / 'a.npz'), features='pixels')
    outputs = {'.': UsageError, 'no/where.jsonl': UsageError, 'a.npz': CorruptRunError}
    for output, error in outputs.items():
        with pytest.raises(error):
            evaluate(EvaluateConfig(**options, output_file=str(tmp_path / output)))


# Flags


def test_features_inception_needs_images(refused_here, run):
    folder, _ = run
    flags = [f'--workdir={folder}', '--features=inception', '--inception_path=nowhere']
    refused_here(2, ['vectors', '--features=pixels'], 'evaluate', *flags)


def test_inception_path_must_exist(refused_here, own, tmp_path):
    folder, _ = own
    flags = [f'--workdir={folder}', f'--inception_path={tmp_path}/no', f'--cache_dir={tmp_path}/c']
    refused_here(3, ['--inception_path'], 'evaluate', *flags)


def test_workdir_must_hold_a_run(refused_here, tmp_path):
    refused_here(3, ['holds no run'], 'evaluate', f'--workdir={tmp_path}')


@pytest.mark.parametrize(
    ('options', 'word'),
    [
        (dict(), '--workdir: needed'),
        (dict(workdir='x', real='y', fake='z'), 'one of both'),
        (dict(real='x'), 'Set both'),
        (dict(real='x', fake='y', checkpoint='last'), '--checkpoint=last'),
        (dict(workdir='x', checkpoint='newest'), 'best_validation'),
        (dict(workdir='x', bootstrap=1), '--bootstrap=1'),
        (dict(workdir='x', bootstrap=9, reference_statistics='y'), '--bootstrap'),
        (dict(workdir='x', checkpoint='best_validation', split='validation'), 'validation'),
        (dict(workdir='x', checkpoint='²'), '--checkpoint=²'),
        (dict(real='x', fake='y', repeats=2), '--repeats=2'),
        (dict(workdir='x', fake='y', recalibrate_batch_norm=2), '--recalibrate_batch_norm=2'),
        (dict(workdir='x', recalibrate_batch_norm=-1), '--recalibrate_batch_norm=-1'),
        (dict(workdir='x', sets='samples,fakes'), '--sets=fakes'),
        (dict(workdir='x', allow_unverified_statistics=True), '--reference_statistics'),
    ],
)
def test_evaluate_config_refuses_contradictions(options, word):
    with pytest.raises(UsageError, match=word):
        EvaluateConfig(**options)


def test_resize_flag_matches_the_table():
    assert tuple(preprocessing.RESIZES) == RESIZES


def test_inception_score_needs_tfgans_network(own, score):
    folder, network = own
    with pytest.raises(UsageError, match='inception_score'):
        score(folder, num_examples=40, metrics='inception_score', **network)


def test_identified_network_gives_fid_and_inception_score(own, score, tmp_path, monkeypatch):
    folder, network = own
    options = network | dict(num_examples=40, sets='samples')
    other, graph = tmp_path / 'other.pb', tmp_path / 'graph.pb'
    other.write_bytes(frozen_inception(1).SerializeToString())
    graph.write_bytes(frozen_inception().SerializeToString())
    monkeypatch.setattr(network_files, 'INCEPTION_2015', network_files.git_blob_id(graph))
    scores = score(folder, metrics='fd,kid', **options | dict(inception_path=str(other)))
    assert set(scores) == {'fd_pool_3_40_gen', 'kd_pool_3_40_gen'}
    options |= dict(inception_path=str(graph))
    scores = score(folder, metrics='fd,kid,inception_score', **options)
    names = {'fid40_gen', 'kid40_gen', 'inception_score40_gen'}
    assert names <= set(scores)
    fields = scores['fid40_gen']['fields']
    assert (fields['layer'], fields['resize']) == ('pool_3', 'tf1_bilinear_299')
    assert len(fields['network']) == 12 and fields['features'] == 'inception'
    assert scores['inception_score40_gen']['value'] >= 1.0

    # A wrong name in the records of an earlier version is not printed again.
    monkeypatch.setattr(network_files, 'INCEPTION_2015', 'another graph')
    corrected = score(folder, metrics='fd,kid', **options)
    assert set(corrected) == {'fd_pool_3_40_gen', 'kd_pool_3_40_gen'}
    assert corrected['fd_pool_3_40_gen']['value'] == scores['fid40_gen']['value']
    assert corrected['fd_pool_3_40_gen']['id'] == scores['fid40_gen']['id']
    assert score(folder, metrics='fd,kid', **options) == {}
