"""Images of any generator under the protocol of a run, a data set, images or statistics."""

import os

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.data.decoding import DECODER
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.image_grid import write_png
from flexae_tf.metrics.frechet import frechet_distance
from flexae_tf.metrics.pixels import pixel_features

NUM = 40


@pytest.fixture
def score_fake(tmp_path):
    """`score_fake(fake=..., ...)`: records of an evaluation of `--fake` by stem and set."""

    def evaluate_(**options):
        output = tmp_path / 'scores.jsonl'
        output.unlink(missing_ok=True)
        options = {name: os.fspath(v) if name in PATHS else v for name, v in options.items()}
        options |= dict(output_file=str(output), cache_dir=str(tmp_path / 'cache'))
        evaluate(EvaluateConfig(**options))
        return {(r['stem'], r['set']): r for r in read_jsonl(output) if 'stem' in r}

    return evaluate_


PATHS = ('workdir', 'fake', 'real', 'data_dir', 'reference_statistics')


@pytest.fixture
def samples(own, here, tmp_path):
    """The run on digits and its samples as an .npz file and as a folder of PNG files."""
    folder, _ = own
    for flag, name in (('output_file', 'samples.npz'), ('output_dir', 'samples')):
        here(
            'sample',
            *(f'--source={folder}', f'--{flag}={tmp_path / name}'),
            *(f'--num_samples={NUM}', '--batch_size=7'),
        )
    return folder, tmp_path / 'samples.npz', tmp_path / 'samples'


@pytest.mark.parametrize('features', ['pixels', 'inception'])
def test_samples_in_files_have_the_scores_of_the_run(samples, own, score, score_fake, features):
    folder, array, images = samples
    network = own[1] if features == 'inception' else {'features': 'pixels'}
    options = dict(num_examples=NUM, **network)
    expected = score(folder, sets='samples', **options)
    assert len(expected) == 9
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    sides = [dict(workdir=folder), dict(dataset='digits')]
    for fake, side in [(fake, side) for fake in (array, images) for side in sides]:
        found = score_fake(fake=fake, **side, **options)
        assert len(found) == len(expected)
        for record in expected.values():
            mine = found[record['stem'], 'fake']
            assert (mine['value'], mine['protocol']) == (record['value'], record['protocol'])
            assert mine['metric'] == record['metric'].removesuffix('_gen') + '_fake'
            assert mine['source'] == str(fake) and mine['step'] == 0 and mine['seed'] is None
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


@pytest.mark.parametrize('options', [{}, {'split': 'validation'}])
def test_statistics_are_enough(samples, own, score, score_fake, tmp_path, options):
    folder, array, images = samples
    statistics = str(tmp_path / 'real.npz')
    changed = dict(feature_layer='probe', resize='half_pixel_bilinear', **own[1])
    for space in (dict(features='pixels'), changed):
        written = dict(num_examples=NUM, metrics='fd', **space, **options)
        (record,) = score(folder, sets='samples', write_statistics=statistics, **written).values()
        os.remove(folder / 'scores.jsonl')
        given = {k: v for k, v in options.items() if k != 'split'}
        given |= {'inception_path': own[1]['inception_path']}
        for fake in (array, images):
            # Features, layer and resize are taken from the file.
            found = score_fake(reference_statistics=statistics, fake=fake, **given)
            assert list(found) == [('fd', 'fake')]
            assert found['fd', 'fake']['value'] == pytest.approx(record['value'], rel=1e-6)
            assert found['fd', 'fake']['protocol'] == record['protocol']
            assert found['fd', 'fake']['fields'] == record['fields']


def test_statistics_state_number_and_feature_space(
    samples, own, score, score_fake, tmp_path, capsys
):
    folder, array, _ = samples
    side = dict(reference_statistics=str(tmp_path / 'real.npz'), fake=array)
    score(
        folder, sets='samples', num_examples=NUM, metrics='fd', features='pixels',
        write_statistics=side['reference_statistics'],
    )  # fmt: skip
    score_fake(**side)
    assert 'mostly bias. Use statistics of more examples' in capsys.readouterr().out
    with pytest.raises(UsageError, match='--num_examples=30: .* describes 40'):
        score_fake(num_examples=30, **side)
    with pytest.raises(UsageError, match='features=pixels and inception'):
        score_fake(**side, **own[1])
    with pytest.raises(UsageError, match='--metrics=fd'):
        score_fake(metrics='kid', **side)
    with np.load(array) as loaded:
        np.savez(tmp_path / 'fewer.npz', images=loaded['images'][:30])
        np.savez(tmp_path / 'large.npz', images=np.repeat(loaded['images'], 2, axis=1))
    with pytest.raises(UsageError, match='fewer.npz: 30 images, but .* describes 40'):
        score_fake(**side | {'fake': tmp_path / 'fewer.npz'})
    with pytest.raises(UsageError, match=r'large.npz: shape \[56, 28, 1\]'):
        score_fake(**side | {'fake': tmp_path / 'large.npz'})


def test_unverified_statistics_name_unverified_scores(samples, score_fake, tmp_path, capsys):
    _, array, images = samples
    x = np.random.default_rng(0).random([100, 784])
    np.savez(tmp_path / 'other.npz', mu=x.mean(axis=0), sigma=np.cov(x.T))
    side = dict(reference_statistics=tmp_path / 'other.npz', features='pixels')
    with pytest.raises(UsageError, match='--allow_unverified_statistics'):
        score_fake(fake=array, **side)
    records = [
        score_fake(fake=fake, allow_unverified_statistics=True, **side)['fd', 'fake']
        for fake in (array, images)
    ]
    assert records[0]['metric'] == f'fd_pixels_{NUM}_fake_unverified'
    text = capsys.readouterr().out
    assert f'{NUM} examples in --fake; the statistics are used unchanged' in text
    assert 'real ones are used' not in text
    assert {(r['protocol'], r['value'], r['checkpoint']) for r in records} == {
        (records[0]['protocol'], records[0]['value'], records[0]['checkpoint'])
    }


def test_fewer_fakes_are_compared_with_as_many_real_images(samples, score, score_fake, tmp_path):
    folder, array, _ = samples
    with np.load(array) as loaded:
        fakes = loaded['images'][:25]
    np.savez(tmp_path / 'fewer.npz', images=fakes)
    found = score_fake(
        workdir=folder, fake=tmp_path / 'fewer.npz', features='pixels', metrics='fd'
    )['fd', 'fake']
    assert found['metric'] == 'fd_pixels_25_fake' and found['n'] == 25
    dataset = data.load(TrainConfig(dataset='digits', batch_size=2))
    order = data.fixed_permutation(len(dataset.test), data.Purpose.EVALUATION)
    expected = frechet_distance(pixel_features(dataset.test.x[order[:25]]), pixel_features(fakes))
    assert found['value'] == pytest.approx(expected)
    fewer = dict(num_examples=25, features='pixels', metrics='fd', sets='samples')
    assert score(folder, **fewer)['fd_pixels_25_gen']['protocol'] == found['protocol']


def test_more_fakes_are_a_fixed_choice(samples, score_fake, tmp_path):
    folder, array, _ = samples
    options = dict(workdir=folder, fake=array, num_examples=20, features='pixels', metrics='fd')
    first, second = (score_fake(**options)['fd', 'fake'] for _ in range(2))
    assert first['value'] == second['value'] and first['n'] == 20


def test_vectors_in_a_file_have_the_scores_of_the_run(run, here, score, score_fake, tmp_path):
    folder, _ = run
    options = dict(num_examples=50, metrics='fd,kid')
    expected = score(folder, sets='samples', **options)
    path = tmp_path / 'samples.npz'
    here('sample', f'--source={folder}', f'--output_file={path}', '--num_samples=50')
    with np.load(path) as loaded:
        np.save(tmp_path / 'samples.npy', loaded['images'])
    for fake in (path, tmp_path / 'samples.npy'):
        found = score_fake(workdir=folder, fake=fake, **options)
        for record in expected.values():
            mine = found[record['stem'], 'fake']
            assert (mine['value'], mine['protocol']) == (record['value'], record['protocol'])
    statistics = str(tmp_path / 'real.npz')
    score(folder, num_examples=50, metrics='fd', sets='samples', write_statistics=statistics)
    found = score_fake(reference_statistics=statistics, fake=tmp_path / 'samples.npy')['fd', 'fake']
    assert found['value'] == pytest.approx(expected['fd_vectors_50_gen']['value'])
    np.savez(path, np.zeros([50, 3]))
    with pytest.raises(
        UsageError, match=r'shape \[3\], but real examples have \[128\]. Make the shapes equal.$'
    ):
        score_fake(workdir=folder, fake=path)
    np.savez(path, np.zeros([50, 4, 4]))
    with pytest.raises(MissingDataError, match=r'\[50, 4, 4\]\) are not vectors'):
        score_fake(workdir=folder, fake=path)


def test_network_features_take_other_sizes_and_colours(samples, own, score_fake, tmp_path):
    folder, array, images = samples
    with np.load(array) as loaded:
        grey = loaded['images']
    colours = np.concatenate([grey, 255 - grey, grey], axis=3)
    np.savez(tmp_path / 'colours.npz', images=colours)
    np.savez(tmp_path / 'small.npz', images=grey[:, ::2, ::2])
    side = dict(workdir=folder, num_examples=NUM, metrics='fd')
    for name in ('colours.npz', 'small.npz'):
        assert score_fake(fake=tmp_path / name, **side, **own[1])['fd', 'fake']['n'] == NUM
        with pytest.raises(UsageError, match=rf'--fake=.*{name}: shape .* \[28, 28, 1\]'):
            score_fake(fake=tmp_path / name, features='pixels', **side)
    # Grey images keep their value beside three equal channels.
    values = [
        score_fake(real=real, fake=fake, features='pixels', metrics='fd')['fd', 'fake']['value']
        for real, fake in ((array, images), (images, array), (images, images))
    ]
    np.testing.assert_allclose(values, 0.0, atol=1e-6)


def test_resized_fakes_have_another_protocol(samples, score_fake, tmp_path):
    folder, array, images = samples
    large = tmp_path / 'large'
    large.mkdir()
    for path in images.iterdir():
        with open(path, 'rb') as file:
            (large / path.name).write_bytes(file.read())
    write_png(large / '000000.png', np.zeros([30, 40, 1], np.uint8))
    side = dict(workdir=folder, num_examples=NUM, metrics='fd', features='pixels')
    plain = score_fake(fake=array, **side)['fd', 'fake']
    with pytest.raises(MissingDataError, match='000000.png|one size'):
        score_fake(fake=large, **side)
    resized = score_fake(fake=large, resize_to=28, **side)['fd', 'fake']
    assert resized['fields'] == plain['fields'] | {'resize_to': 'centre_antialiased_28'}
    assert resized['protocol'] != plain['protocol']
    assert resized['protocol_name'] == 'custom'
    # Statistics of resized images, and images of another size that are not resized.
    statistics = tmp_path / 'real.npz'
    wide = np.zeros([NUM, 28, 30, 1], np.uint8)
    np.savez(tmp_path / 'wide.npz', images=wide)
    options = dict(num_examples=NUM, metrics='fd', features='pixels', resize_to=28)
    score_fake(real=large, fake=large, write_statistics=os.fspath(statistics), **options)
    with pytest.raises(UsageError, match='images of 28x30, but .*28x28. Add --resize_to=28'):
        score_fake(fake=tmp_path / 'wide.npz', reference_statistics=statistics)


def test_scores_of_a_run_are_no_output_file(samples, tmp_path):
    folder, array, _ = samples
    (tmp_path / 'link.jsonl').symlink_to(folder / 'scores.jsonl')
    options = dict(workdir=str(folder), fake=str(array), features='pixels')
    for path in (folder / 'scores.jsonl', tmp_path / 'link.jsonl'):
        with pytest.raises(UsageError, match=f'--output_file={path}: holds the scores of the run'):
            evaluate(EvaluateConfig(**options, output_file=str(path)))
    assert not (folder / 'scores.jsonl').exists()


def test_metrics_of_a_run_do_not_apply(samples, score_fake):
    folder, array, _ = samples
    with pytest.raises(UsageError, match='--metrics=codes: needs the sets of a run'):
        score_fake(workdir=folder, fake=array, metrics='codes', features='pixels')


def test_statistics_of_other_decoders_are_refused(score_fake, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, [12, 8, 8, 3]).astype(np.uint8)
    (tmp_path / 'images').mkdir()
    for i, image in enumerate(images):
        write_png(tmp_path / 'images' / f'{i}.png', image)
    options = dict(fake=tmp_path / 'images', features='pixels')
    written = tmp_path / 'real.npz'
    record = score_fake(
        real=tmp_path / 'images', write_statistics=str(written), metrics='fd', **options
    )['fd', 'fake']
    assert record['fields']['decoder']
    statistics = dict(reference_statistics=written, **options)
    assert score_fake(**statistics)['fd', 'fake']['protocol'] == record['protocol']
    with np.load(written) as arrays:
        changed = dict(arrays)
    del changed['checksum']
    changed['protocol'] = str(changed['protocol']).replace(record['fields']['decoder'], 'other')
    np.savez(written, **changed)
    with pytest.raises(UsageError, match='decoder was other'):
        score_fake(**statistics)


@pytest.mark.parametrize(
    ('options', 'word'),
    [
        (dict(fake='x'), '--fake=x: needs a real side'),
        (dict(dataset='mnist'), '--dataset: a real side for --fake'),
        (dict(workdir='w', dataset='mnist', fake='x'), '--workdir and --dataset'),
        (dict(workdir='w', fake='x', checkpoint='last'), '--checkpoint=last'),
        (dict(workdir='w', fake='x', sets='samples'), '--sets=samples'),
        (dict(workdir='w', fake='x', sample_seed=1), '--sample_seed=1'),
        (dict(workdir='w', fake='x', quantization='none'), '--quantization=none'),
        (dict(dataset='mnist', fake='x', minmax_normalize=True), '--minmax_normalize=True'),
        (dict(reference_statistics='y', fake='x', protocol='authors'), '--protocol=authors'),
        (dict(workdir='w', resize_to=64), '--resize_to=64: an option of --fake'),
        (dict(workdir='w', value_range='0..1'), '--value_range=0..1'),
        (dict(real='y', fake='x', split='train'), '--split=train: needs --workdir or --dataset'),
        (dict(real='y', fake='x', data_dir='d'), '--data_dir=.*d: needs --workdir'),
        (
            dict(fake='x', reference_statistics='y', write_statistics='z'),
            '--write_statistics=.*z: needs real examples',
        ),
    ],
)
def test_options_without_effect_are_refused(options, word):
    with pytest.raises(UsageError, match=word):
        EvaluateConfig(**options)


def test_floats_of_a_stated_range_have_the_scores_of_uint8(score_fake, tmp_path):
    """On both sides: images of `--dataset=folder` and of `--fake`."""
    x = np.random.RandomState(0).randint(0, 256, [60, 8, 8, 1]).astype(np.uint8)
    found = []
    for name, images in (('uint8', x), ('float', x / np.float32(255))):
        np.savez(tmp_path / f'{name}_real.npz', x_train=images[:20], x_test=images[20:40])
        np.save(tmp_path / f'{name}_fake.npy', images[40:])
        side = dict(dataset='folder', data_dir=tmp_path / f'{name}_real.npz')
        options = dict(fake=tmp_path / f'{name}_fake.npy', features='pixels', metrics='kid')
        value_range = None if name == 'uint8' else '0..1'
        found.append(score_fake(**side, **options, value_range=value_range)['kd', 'fake'])
    ours, theirs = found
    assert (ours['value'], ours['protocol']) == (theirs['value'], theirs['protocol'])


def deep_folder(folder, seed, largest):
    """Writes 16-bit images with these largest values; returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(6):
        x = rng.integers(0, largest + 1, [8, 8, 3]).astype(np.uint16)
        x[0, 0] = largest
        (folder / f'{i}.png').write_bytes(tf.io.encode_png(x).numpy())
    return folder


def test_sides_of_16_bits_have_one_scale(score_fake, tmp_path):
    real = deep_folder(tmp_path / 'real', 0, 65535)
    fake = deep_folder(tmp_path / 'fake', 1, 4095)  # a sixteenth as bright
    options = dict(features='pixels', metrics='fd', num_examples=6)
    found = score_fake(real=real, fake=fake, **options)['fd', 'fake']
    swapped = score_fake(real=fake, fake=real, **options)['fd', 'fake']
    assert found['value'] > 0.5 and found['value'] == pytest.approx(swapped['value'], rel=0.1)
    assert found['fields']['decoder'] == DECODER
    options |= dict(write_statistics=str(tmp_path / 's.npz'))
    dark = score_fake(real=fake, fake=fake, **options)['fd', 'fake']
    assert dark['fields']['decoder'] == f'{DECODER}_of_12'
    statistics = dict(reference_statistics=tmp_path / 's.npz', features='pixels', metrics='fd')
    assert score_fake(fake=fake, **statistics)['fd', 'fake']['protocol'] == dark['protocol']
    with pytest.raises(UsageError, match=f'decoder was {DECODER}_of_12, for --fake it is'):
        score_fake(fake=real, **statistics)
    for path in fake.iterdir():
        path.write_bytes(tf.io.encode_png(np.zeros([8, 8, 3], np.uint8)).numpy())
    assert score_fake(fake=fake, **statistics)['fd', 'fake']['protocol'] == dark['protocol']


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(metrics='fd,psnr'), '--metrics=psnr: needs the sets of a run'),
        (dict(resize_to=8), '--resize_to=8: .* the real examples are 28x28'),
        (dict(write_statistics='missing/s.npz'), '--write_statistics=.*/missing/s.npz'),
        (dict(feature_layer='pool_3'), '--feature_layer=pool_3: not used'),
        (dict(resize='antialiased_bicubic'), '--resize=antialiased_bicubic: not used'),
    ],
)
def test_fakes_refuse_options_without_effect_or_place(options, words, score_fake, tmp_path):
    np.save(tmp_path / 'fake.npy', np.zeros([10, 28, 28, 1], np.uint8))
    sides = dict(fake=tmp_path / 'fake.npy', dataset='digits', features='pixels', num_examples=10)
    with pytest.raises(UsageError, match=words):
        score_fake(**sides, **options)


def test_output_file_in_a_missing_folder_is_refused(tmp_path):
    np.save(tmp_path / 'fake.npy', np.zeros([10, 28, 28, 1], np.uint8))
    options = dict(fake=f'{tmp_path}/fake.npy', dataset='digits', features='pixels')
    with pytest.raises(UsageError, match='missing/x.jsonl: no such folder. Make it'):
        evaluate(EvaluateConfig(**options, output_file=f'{tmp_path}/missing/x.jsonl'))


def test_indefinite_matrix_is_no_covariance(score_fake, tmp_path):
    np.save(tmp_path / 'fake.npy', np.zeros([10, 4, 4, 1], np.uint8))
    sigma = 2 * np.ones([16, 16]) - np.eye(16)
    np.savez(tmp_path / 's.npz', mu=np.zeros(16), sigma=sigma)
    statistics = dict(reference_statistics=tmp_path / 's.npz', allow_unverified_statistics=True)
    with pytest.raises(MissingDataError, match='sigma is not a covariance'):
        score_fake(fake=tmp_path / 'fake.npy', features='pixels', **statistics)
