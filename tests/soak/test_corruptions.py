"""A changed or truncated file of a run is refused by name, repaired with a warning, or harmless."""

import contextlib
import io
import pathlib
import random
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from flexae_tf.checked_files import SCALARS, check_manifest, read_arrays, read_jsonl
from flexae_tf.densities import densities
from flexae_tf.errors import CorruptRunError, MissingDataError
from flexae_tf.evaluation.features import NetworkFeatures
from flexae_tf.evaluation.statistics_file import read_statistics
from flexae_tf.training.restore import initial_state, open_run, stores
from flexae_tf.training.workdir import Workdir
from tests.soak import campaign
from tests.soak.campaign import Process, complete

CASES = 1000  # for each file
TRUNCATED = 0.2  # share of the cases; the others change one bit


@pytest.fixture(scope='session')
def finished(vectors, network, tmp_path_factory):
    """A run with scores, densities, statistics and an export; not to be changed by tests."""
    (run,) = campaign.copies(vectors, tmp_path_factory.mktemp('finished'), 1)
    evaluation = campaign.evaluation(run, network, cache=run.parent / 'cache')
    complete(
        [*evaluation, f'--write_statistics={run}/statistics.npz'],
        campaign.fit(run, 'gaussian_mixture'),
        campaign.fit(run, 'second_stage'),
        campaign.export(run),
    )
    return run


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run."""
    return shutil.copytree(finished, tmp_path / 'run')


def corrupt(path, read, *, tail_is_lost=False):
    """Corrupts a file in `CASES` ways; returns how often each outcome occurred.

    Args:
        path: the file, which is restored at the end.
        read: reads it and returns its values.
        tail_is_lost: whether a truncated file may lose its last records, as after a kill.
    """
    content, expected, outcomes = path.read_bytes(), read(), Counter()
    rng = random.Random(path.name)
    for _ in range(CASES):
        place = rng.randrange(len(content))
        truncated = rng.random() < TRUNCATED
        changed = bytearray(content[:place] if truncated else content)
        if not truncated:
            changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = read()
        except (CorruptRunError, MissingDataError) as error:
            assert str(path.parent) in str(error)
            outcomes['refused'] += 1
            continue
        if tail_is_lost and truncated:
            assert found == expected[: len(found)], f'{path.name}: {place} truncated'
            outcomes['tail lost'] += 1
        else:
            case = f'{path.name}: byte {place}, {"truncated" if truncated else changed[place]}'
            np.testing.assert_equal(found, expected, err_msg=case)
            outcomes['equal values'] += 1
    path.write_bytes(content)
    return outcomes


def test_configuration_and_logs(run):
    workdir = Workdir(run)
    readers = {
        'config.json': (workdir.read, False),
        'environment.json': (workdir.read_environment, False),
        'stats.jsonl': (lambda: read_jsonl(workdir.stats, SCALARS), True),
        'perf.jsonl': (lambda: read_jsonl(workdir.perf, SCALARS), True),
        'scores.jsonl': (lambda: read_jsonl(workdir.scores), True),
    }
    for name, (read, tail_is_lost) in readers.items():
        outcomes = corrupt(run / name, read, tail_is_lost=tail_is_lost)
        campaign.report('corruptions', name, outcomes)


def test_checkpoints_and_snapshots(run):
    opened = open_run(run)
    state = initial_state(opened.method)
    for store, name in zip(
        stores(opened.workdir, opened.config, opened.method, state),
        ('ckpt', 'weights'),
        strict=True,
    ):

        def read(store=store):
            store.restore(campaign.STEPS)
            return [variable.numpy() for variable in opened.method.weights]

        for path in sorted((run / 'checkpoints').glob(f'{name}-{campaign.STEPS:09d}.*')):
            outcomes = corrupt(path, read)
            campaign.report('corruptions', f'{name}{"".join(path.suffixes)}', outcomes)


def test_densities(run):
    opened = open_run(run)

    def read():
        prior = densities.attach(opened, 'gaussian_mixture').method.prior
        return [variable.numpy() for variable in prior.variables]

    folder = densities.density_folder(opened, 'gaussian_mixture')
    for name in ('density.json', 'density.npz'):
        campaign.report('corruptions', name, corrupt(folder / name, read))
    codes = densities.density_folder(opened, 'second_stage') / 'codes.npz'
    outcomes = corrupt(codes, lambda: read_arrays(codes))
    campaign.report('corruptions', 'codes.npz', outcomes)


def test_export(run):
    folder = run / 'export' / f'{campaign.STEPS:09d}'
    assert (folder / 'manifest.json').exists()
    for path in sorted(filter(pathlib.Path.is_file, folder.rglob('*'))):
        outcomes = corrupt(path, lambda: check_manifest(folder))
        campaign.report('corruptions', f'export/{path.relative_to(folder)}', outcomes)


def test_statistics(run):
    path = run / 'statistics.npz'

    def read():
        found = read_statistics(path, allow_unverified=True)
        return found.moments, found.protocol

    campaign.report('corruptions', path.name, corrupt(path, read))


def test_features(tmp_path):
    # A block that is corrupt is computed again.
    def outputs(x):
        return SimpleNamespace(features=x.reshape(len(x), -1) / 255.0, logits=None)

    network = SimpleNamespace(
        checksum='tiny',
        layer='pool',
        resize='none',
        has_logits=False,
        num_devices=1,
        outputs=outputs,
    )
    features = NetworkFeatures(network, tmp_path, 50)
    x = np.random.default_rng(0).integers(256, size=[40, 4, 4, 1], dtype=np.uint8)

    def read():
        with contextlib.redirect_stdout(io.StringIO()):
            return features(x, label='images').rows

    read()
    (path,) = tmp_path.glob('*.npz')
    campaign.report('corruptions', 'features/*.npz', corrupt(path, read))


@pytest.mark.parametrize(
    'name, program',
    [
        ('config.json', 'evaluate'),
        ('config.json', 'train'),
        ('stats.jsonl', 'train'),
        ('scores.jsonl', 'evaluate'),
        ('scores.jsonl', 'compare'),
        (f'checkpoints/ckpt-{campaign.STEPS:09d}.data-00000-of-00001', 'export'),
        (f'checkpoints/ckpt-{campaign.STEPS:09d}.manifest.json', 'evaluate'),
        (f'densities/{campaign.STEPS:09d}/gaussian_mixture/density.npz', 'sample'),
        (f'densities/{campaign.STEPS:09d}/gaussian_mixture/density.json', 'sample'),
        (f'densities/{campaign.STEPS:09d}/second_stage/codes.npz', 'fit'),
        (f'export/{campaign.STEPS:09d}/saved_model.pb', 'sample export'),
        (f'export/{campaign.STEPS:09d}/variables/variables.index', 'sample export'),
    ],
)
def test_programs(name, program, run, network, tmp_path):
    path, output = run / name, f'--output_file={tmp_path}/samples.npz'
    export = run / 'export' / f'{campaign.STEPS:09d}'
    commands = {
        'train': [*campaign.training('vae', run), f'--training_steps={campaign.STEPS + 1}'],
        'evaluate': campaign.evaluation(run, network, cache=tmp_path),
        'compare': ['compare', str(run)],
        'fit': campaign.fit(run, 'second_stage'),
        'export': [*campaign.export(run), f'--export_dir={tmp_path}/export'],
        'sample': ['sample', f'--source={run}', '--density=gaussian_mixture', output],
        'sample export': ['sample', f'--source={export}', output],
    }
    if program == 'fit':
        (path.parent / 'density.json').unlink()  # so that the codes are read
    content, outcomes = path.read_bytes(), Counter()
    changed = [content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]]
    if path.suffix != '.jsonl':  # its tail may be lost, as after a kill
        changed.append(content[: len(content) // 2])
    for corrupted in changed:
        path.write_bytes(corrupted)
        shutil.rmtree(tmp_path / 'export', ignore_errors=True)
        process = Process(commands[program])
        code = process.wait()
        if code:
            assert code in (3, 4) and path.name.split('.')[0] in process.error(), process.output
        else:
            assert 'WARNING' in process.output, process.output
        outcomes[f'exit {code}'] += 1
    campaign.report('corruptions', f'{program} {path.name}', outcomes)
