import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

import flexae_tf
from flexae_tf.config import TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.training.workdir import Workdir, check_request
from tests.training.conftest import train


def test_check_request_needs_a_workdir_unless_it_is_a_dry_run(config):
    with pytest.raises(UsageError, match='--workdir: needed'):
        check_request(config())
    resolved, spec = check_request(config(dry_run=True))
    assert (resolved.latent_dim, resolved.noise_dim, spec.shape) == (2, 2, (128,))


def test_check_request_refuses_another_configuration(config, run):
    check_request(config(workdir=str(run)))
    with pytest.raises(UsageError, match='--seed=0 there, 1 now'):
        check_request(config(workdir=str(run), seed=1))
    # Only the identity of this method has `training_steps`.
    with pytest.raises(UsageError, match='--method=flexae there, two_stage_vae now'):
        check_request(config(workdir=str(run), method='two_stage_vae'))


def test_workdir_refuses_another_configuration(config, synthetic, run):
    with pytest.raises(UsageError, match='--seed=0 there, 1 now; --batch_size=16 there, 8 now'):
        train(config(workdir=str(run), batch_size=8, seed=1), synthetic)
    # Options that do not change the mathematics may differ.
    train(config(workdir=str(run), training_steps=11, log_every_steps=1), synthetic)


def test_workdir_refuses_other_training_data(config, synthetic, run):
    # Another processor may compute vectors that differ in a last bit.
    near = synthetic.train.x.copy()
    near[:20, 0] = np.nextafter(near[:20, 0], np.float32(2.0))
    near = dataclasses.replace(synthetic, train=dataclasses.replace(synthetic.train, x=near))
    longer = config(workdir=str(run), training_steps=11)
    train(longer, near)
    fewer = dataclasses.replace(synthetic, train=synthetic.train.take(np.arange(100)))
    with pytest.raises(UsageError, match='other training data'):
        train(longer, fewer)


def test_workdir_is_locked_while_open(config, synthetic, straight, tmp_path):
    workdir = Workdir(tmp_path / 'run')
    workdir.open(straight.config, synthetic)
    with pytest.raises(UsageError, match='run: another process'):
        train(config(workdir=str(tmp_path / 'run')), synthetic)
    workdir.close()
    workdir.open(straight.config, synthetic)
    workdir.close()


def test_flags_of_a_run_train_it_where_it_is_now(run, tmp_path, monkeypatch):
    """A run that was copied, with a flagfile given from another folder."""
    copy = shutil.copytree(run, tmp_path / '[copy] $x')
    (tmp_path / 'link').symlink_to(copy)
    monkeypatch.chdir('/')
    flags = str(copy).replace('$', '$$')
    for folder in (flags, tmp_path / 'link'):
        found, _ = check_request(from_arguments(TrainConfig, [f'--flagfile={folder}/flags.txt']))
        assert os.path.samefile(found.workdir, copy)
    assert Workdir(copy).read()[0].workdir == str(copy)
    assert str(run.parent) not in (copy / 'flags.txt').read_text()


def test_workdir_stores_absolute_paths(config, synthetic, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir = Workdir('run')
    workdir.open(config(workdir='run', data_dir='../data'), synthetic)
    workdir.close()
    monkeypatch.chdir('/')
    found = Workdir(tmp_path / 'run').read()[0]
    assert found.data_dir == f'{tmp_path}/../data'
    (again,) = (tmp_path / 'run').glob('flags.txt')
    assert from_arguments(TrainConfig, [f'--flagfile={again}']).data_dir == found.data_dir


@pytest.mark.parametrize('old, new', [(True, 'on'), (False, 'off')])
def test_workdir_reads_options_that_had_another_type(run, old, new):
    path = run / 'config.json'
    document = json.loads(path.read_text())
    document['config']['jit_compile'] = old
    del document['checksum']  # as earlier versions wrote
    path.write_text(json.dumps(document))
    assert Workdir(run).read()[0].jit_compile == new


def test_workdir_logs_names_that_are_not_utf_8(tmp_path):
    Workdir(tmp_path).log('é \udcff')
    assert (tmp_path / 'log.txt').read_text('utf-8').endswith(' é \\udcff\n')


@pytest.mark.parametrize('path', ['', 'gs://bucket/run'])
def test_workdir_needs_a_local_path(path):
    with pytest.raises(UsageError, match='^workdir='):
        flexae_tf.load_run(path)


def test_workdir_without_valid_run_is_refused(run):
    shutil.rmtree(run / 'checkpoints')
    (run / 'checkpoints').mkdir()
    with pytest.raises(MissingDataError, match='holds no checkpoint yet'):
        flexae_tf.load_run(run)


@pytest.mark.parametrize(
    ('section', 'changes', 'problem'),
    [
        ('config', {'seed': '0'}, ":[0-9]+: 'seed' is no int"),
        ('config', {'download': 0}, ":[0-9]+: 'download' is no bool"),
        ('config', {'method': None}, ":[0-9]+: 'method' is no str"),
        ('config', {'colour': 'red'}, ":[0-9]+: unknown key 'colour'"),
        ('data', {'shape': [28, 28]}, ': describes data of an impossible shape'),
        ('data', {'shape': []}, ': describes data of an impossible shape'),
        ('data', {'shape': [0]}, ': describes data of an impossible shape'),
        ('data', {'shape': 128}, ":[0-9]+: 'shape' is no list"),
        ('data', {'value_range': [0.0]}, ': describes data of an impossible shape'),
        ('data', {'kind': 'sounds'}, ': describes data of an impossible shape'),
    ],
)
def test_config_of_a_run_must_be_valid(run, section, changes, problem):
    path = run / 'config.json'
    document = json.loads(path.read_text())
    document[section] |= changes
    del document['checksum']
    path.write_text(json.dumps(document, indent=2))
    with pytest.raises(CorruptRunError, match=f'config.json{problem}.*Restore the file'):
        Workdir(run).read()


def test_files_of_a_run_find_changes(run):
    workdir = Workdir(run)
    for name, old, new, read in (
        ('config.json', '"seed": 0', '"seed": 1', workdir.read),
        ('environment.json', '"python": "3', '"python": "2', workdir.read_environment),
        ('perf.jsonl', '"step": 10', '"step": 11', workdir.read_pace),
    ):
        text = (run / name).read_text()
        assert text.count(old) == 1
        (run / name).write_text(text.replace(old, new))
        with pytest.raises(CorruptRunError, match=f'{name}:[0-9]+: changed since it was written'):
            read()


def test_runs_of_earlier_versions_are_read(run):
    expected = Workdir(run).read(), Workdir(run).read_environment(), Workdir(run).read_pace()
    for path in (*run.glob('*.json'), *run.glob('checkpoints/*.json')):
        document = json.loads(path.read_text())
        del document['checksum']
        path.write_text(json.dumps(document))
    for path in run.glob('*.jsonl'):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            del line['checksum']
        path.write_text('\n'.join(map(json.dumps, lines)))
    workdir = Workdir(run)
    assert (workdir.read(), workdir.read_environment(), workdir.read_pace()) == expected
    flexae_tf.load_run(run)
