"""The command lines: what is refused, how fast, with which words and exit code."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import EvaluateConfig, SampleConfig, TrainConfig
from flexae_tf.config import options as options_lib
from flexae_tf.config.options import to_flagfile
from flexae_tf.errors import UsageError
from flexae_tf.methods import AUTOENCODERS, METHODS
from tests.conftest import ROOT
from tests.methods.building import build

PINNED_IDENTITY = 'ed42eccb5c21'
SMALL = ['--dataset=synthetic_2d', '--batch_size=16', '--training_steps=4', '--critic_steps=1']


@pytest.mark.parametrize(
    'flag, words',
    [
        ('--method=flexea', ['--method=flexea', 'choose one of flexae']),
        ('--dataset=mnits', ['--dataset=mnits', 'mnist']),
        ('--batch_sise=3', ['batch_sise', 'Did you mean: batch_size']),
        ('--batch_size=0', ['--batch_size=0', 'at least 2']),
        ('--batch_size=many', ['batch_size', 'many']),
        ('--batch_size=20000', ['--batch_size=20000', '15000']),
        ('--latent_dim=0', ['--latent_dim=0', 'at least 1']),
        ('--ae_learning_rate=0', ['--ae_learning_rate=0', 'above 0']),
        ('--image_size=32', ['--image_size=32', 'folder']),
        ('--dataset=folder', ['--data_dir']),
        ('--network=mnist', ['--network=mnist', 'vectors']),
        ('--flagfile=flags/datasets/mnist.flags --network=synthetic', ['synthetic', 'images']),
        ('--seed=4294967296', ['--seed=4294967296', 'at most']),
        ('--method=vae --divergence=mmd', ['--divergence=mmd: not used by --method=vae', 'flexae']),
        ('--method=wae_gmm_prior', ['--mixture: missing', 'wae_gmm_prior.flags']),
        (
            '--method=wae_gmm_prior --mixture=data --latent_dim=3',
            ['--latent_dim=3', '--mixture=circle'],
        ),
        ('stray', ['stray', '--name=value']),
        ('--flagfile=nowhere.flags', ['nowhere.flags']),
    ],
)
def test_wrong_flags_are_refused_before_tensorflow_is_imported(
    refused, quick, tmp_path, flag, words
):
    workdir = tmp_path / 'run'
    with quick():
        refused(2, words, 'train', '--dataset=synthetic_2d', f'--workdir={workdir}', *flag.split())
    assert not workdir.exists()


def test_flags_are_checked_without_tensorflow():
    code = (
        'import sys, flexae_tf\n'
        'from flexae_tf import data, program\n'
        'from flexae_tf.networks import architectures\n'
        'from flexae_tf.training import workdir\n'
        'c = flexae_tf.TrainConfig(dataset="mnist", latent_dim=32)\n'
        'workdir.Workdir("nowhere").check(c)\n'
        'print("tensorflow" in sys.modules, c.latent_dim)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ['False', '32'], done.stderr


@pytest.mark.parametrize(
    'flag, name, flags',
    [
        ('--workdir', 'train', SMALL),
        ('--workdir', 'evaluate', []),
        ('--workdir', 'export', []),
        ('--source', 'sample', ['--output_file=x.png']),
        ('--output', 'sample', ['--source=x']),
    ],
)
def test_what_is_needed_is_asked_for(refused, quick, flag, name, flags):
    with quick():
        refused(2, [flag, 'needed'], name, *flags)


def test_a_full_device_is_one_line_and_keras_is_tensorflows():
    code = (
        'import os, sys; from flexae_tf import config, program\n'
        'class ResourceExhaustedError(Exception): pass  # as TensorFlow names it\n'
        'def main(_):\n'
        '    print(os.environ["KERAS_BACKEND"], flush=True)\n'
        '    raise ResourceExhaustedError("OOM when allocating\\nlines")\n'
        'program.run(main, config.DoctorConfig)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {'KERAS_BACKEND': 'jax'},
    )
    assert (done.returncode, done.stdout) == (2, 'tensorflow\n')
    assert done.stderr.count('\n') == 1 and 'is full (OOM when allocating): free' in done.stderr


def test_keras_set_up_for_other_work_is_refused(synthetic):
    keras.config.set_image_data_format('channels_first')
    try:
        with pytest.raises(UsageError, match='Keras: set to tensorflow, channels_first'):
            build(TrainConfig(dataset='synthetic_2d'), synthetic.spec)
    finally:
        keras.config.set_image_data_format('channels_last')


def test_an_unwritable_workdir(refused_here, tmp_path):
    (tmp_path / 'file').write_text('')
    flags = [*SMALL, f'--workdir={tmp_path}/file/x']
    refused_here(2, ['cannot be written', '--workdir'], 'train', *flags)


@pytest.mark.parametrize(
    'name, flags',
    [
        ('sample', ['--source=x', '--output_file=x.gif']),
        ('sample', ['--source=x', '--output_file=x.npz', '--checkpoint=newest']),
        ('evaluate', ['--workdir=x', '--checkpoint=newest']),
        ('export', ['--workdir=x', '--checkpoint=newest']),
        ('evaluate', ['--workdir=x', '--sample_seed=3000000000']),
    ],
)
def test_wrong_flags_of_the_other_programs(refused, quick, name, flags):
    with quick():
        refused(2, [flags[-1]], name, *flags)


def test_no_gpu(refused_here, tmp_path):
    flags = [*SMALL, f'--workdir={tmp_path}/run', '--device=gpu']
    refused_here(2, ['--device=gpu', '.[gpu]', '--device=cpu'], 'train', *flags)
    assert not (tmp_path / 'run').exists()


def test_missing_data(refused, tmp_path):
    flags = ['--dataset=mnist', f'--data_dir={tmp_path}', f'--workdir={tmp_path}/run']
    refused(3, ['mnist', str(tmp_path), '--download'], 'train', *flags)
    assert not (tmp_path / 'run').exists()


def test_bad_pictures(refused_here, tmp_path):
    run = f'--workdir={tmp_path}/run'
    empty, spoilt = tmp_path / 'empty', tmp_path / 'spoilt'
    empty.mkdir()
    spoilt.mkdir()
    rng = np.random.RandomState(0)
    for i in range(4):
        pixels = tf.constant(rng.randint(0, 256, [20, 20, 3]), tf.uint8)
        (spoilt / f'{i}.png').write_bytes(tf.io.encode_png(pixels).numpy())
    (spoilt / '2.png').write_bytes(b'not a picture')
    (tmp_path / 'torn.npz').write_bytes(b'PK\x03\x04 torn')
    flags = ['--dataset=folder', '--image_size=16', '--batch_size=2', run]
    refused_here(3, ['empty'], 'train', *flags, f'--data_dir={empty}')
    refused_here(3, ['2.png'], 'train', *flags, f'--data_dir={spoilt}')
    refused_here(
        3, ['torn.npz'], 'train', '--dataset=folder', run, f'--data_dir={tmp_path}/torn.npz'
    )
    assert not (tmp_path / 'run').exists()


def test_a_damaged_newest_checkpoint_is_passed_over_aloud(here, refused_here, capsys, tmp_path):
    flags = [
        *SMALL,
        f'--workdir={tmp_path}/run',
        '--save_every_steps=2',
        '--snapshot_every_steps=0',
    ]
    here('train', *flags)
    checkpoints = tmp_path / 'run' / 'checkpoints'
    next(checkpoints.glob('ckpt-000000004.data*')).write_bytes(b'damaged')
    here('train', *flags)
    said = capsys.readouterr().out
    assert 'step 4 is corrupt' in said and 'resuming at step 2' in said
    for path in checkpoints.glob('ckpt-*.data*'):
        path.write_bytes(b'damaged')
    refused_here(4, ['valid', 'Move'], 'train', *flags)
    assert len(list(checkpoints.glob('ckpt-*.data*'))) == 2  # nothing was removed


def test_dry_run_tells_what_would_be_and_what_is_missing(
    here, refused_here, capsys, tmp_path, short_networks
):
    flags = ['--dataset=digits', '--width_multiplier=0.05', '--batch_size=8', '--critic_steps=1']
    here('train', *flags, f'--workdir={tmp_path}/run', '--dry_run')
    said = capsys.readouterr().out
    for words in ('--latent_dim=4', 'encoder', 'TFLOP', 'memory', 'disk', 'nothing is missing'):
        assert words in said
    flags = ['--dataset=mnist', f'--data_dir={tmp_path}', '--width_multiplier=0.05', '--dry_run']
    refused_here(3, ['mnist', '--download'], 'train', '--critic_steps=1', *flags)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name', ['train', 'evaluate', 'sample', 'export', 'reproduce'])
def test_help_shows_the_flags_of_the_program(program, name):
    done = program(name, '--help')
    for words in (f'python bin/{name}.py', '--device:', '<auto|gpu|cpu>'):
        assert words in done.stdout


@pytest.fixture
def read_flagfiles(monkeypatch):
    """`read_flagfiles('flags/methods/vae.flags', ...)`: the configuration that they give."""
    from absl import flags

    monkeypatch.chdir(ROOT)  # as the README's commands are run

    def read(*flagfiles):
        values = flags.FlagValues()
        options_lib.define_flags(TrainConfig, values)
        values(['train', *(f'--flagfile={flagfile}' for flagfile in flagfiles)])
        return options_lib.from_flags(TrainConfig, values)

    return read


METHOD_FILES = sorted(path.stem for path in ROOT.glob('flags/methods/*.flags'))
DATASET_FILES = sorted(path.stem for path in ROOT.glob('flags/datasets/*.flags'))


@pytest.mark.parametrize('flagfile', sorted(ROOT.glob('flags/**/*.flags')), ids=lambda p: p.name)
def test_flagfiles_are_valid(flagfile, read_flagfiles):
    read_flagfiles(flagfile)


@pytest.mark.parametrize('name', METHOD_FILES)
def test_a_method_file_is_of_the_method_it_is_named_after(name, read_flagfiles):
    """Or of a method on a data set, where it changes of both files only what is open, and rates."""
    config = read_flagfiles(f'flags/methods/{name}.flags')
    if name == config.method:
        return
    assert name == f'{config.method}_{config.dataset}'
    general = read_flagfiles(
        f'flags/methods/{config.method}.flags', f'flags/datasets/{config.dataset}.flags'
    )
    differing = [k for k, v in vars(config).items() if v != getattr(general, k)]
    rates = {f'{part}_learning_rate' for part in ('ae', 'critic', 'enc')}
    assert differing and set(differing) <= {*METHODS[config.method].required_options, *rates}


def test_every_method_has_a_file_that_goes_with_every_data_set(read_flagfiles):
    assert set(AUTOENCODERS) <= set(METHOD_FILES)
    for method in AUTOENCODERS:
        for dataset in set(DATASET_FILES) - {'folder'}:
            config = read_flagfiles(
                f'flags/methods/{method}.flags', f'flags/datasets/{dataset}.flags'
            )
            assert (config.method, config.dataset) == (method, dataset)
            assert config.training_steps == (20_000 if 'synthetic' in dataset else 130_000)


@pytest.mark.parametrize(
    ('name', 'option', 'numbers'),
    [
        ('beta_vae', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_flow', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_vampprior', 'num_pseudo_inputs', (500, 128, 128)),
    ],
)
def test_numbers_that_depend_on_the_data_set(name, option, numbers, read_flagfiles):
    for dataset, number in zip(('mnist', 'cifar10', 'celeba'), numbers, strict=True):
        own = f'{name}_{dataset}' if f'{name}_{dataset}' in METHOD_FILES else name
        files = f'flags/methods/{own}.flags', f'flags/datasets/{dataset}.flags'
        assert getattr(read_flagfiles(*files), option) == number


def test_the_defaults_are_the_papers():
    c = TrainConfig()
    assert (c.training_steps, c.batch_size, c.critic_steps) == (130_000, 128, 5)
    rates = c.ae_learning_rate, c.critic_learning_rate, c.gen_learning_rate, c.enc_learning_rate
    assert rates == (1e-3, 1e-4, 5e-4, 1e-5)
    assert c.gradient_penalty_weight == 10.0


def test_a_flagfile_gives_the_same_configuration(tmp_path):
    from absl import flags

    wanted = TrainConfig(seed=3, bn_mix_generated=True, latent_dim=7, data_dir='with space')
    (tmp_path / 'f').write_text(to_flagfile(wanted))
    values = flags.FlagValues()
    options_lib.define_flags(TrainConfig, values)
    values(['train', f'--flagfile={tmp_path}/f'])
    assert options_lib.from_flags(TrainConfig, values) == wanted


@pytest.mark.parametrize('options', [TrainConfig, EvaluateConfig, SampleConfig])
def test_keyword_arguments_are_checked_as_flags_are(options):
    needed = {TrainConfig: {}, SampleConfig: dict(source='x', output='y.png')}
    given = needed.get(options, dict(workdir='x'))
    assert options(**given)
    for name in given:
        with pytest.raises(UsageError, match=f'--{name} is needed'):
            options(**{**given, name: None})
    with pytest.raises(UsageError, match='choose one of'):
        options(**given, device='nonsense')


def test_identity_is_what_changes_the_mathematics():
    base = TrainConfig()
    # For ever: checkpoints carry such hashes, and a new option must not change them.
    assert base.identity_hash() == '44136fa355b3'
    assert TrainConfig(seed=2, dataset='mnist').identity_hash() == PINNED_IDENTITY
    assert base.identity_hash() == TrainConfig(log_every_steps=7, device='cpu').identity_hash()
    assert base.identity_hash() != TrainConfig(seed=1).identity_hash()
    # A notebook's 20 is a command line's 20.0.
    as_int, as_float = (
        TrainConfig(method='wae_gan', adversarial_weight=weight) for weight in (20, 20.0)
    )
    assert as_int.identity_hash() == as_float.identity_hash()
    assert type(as_int.adversarial_weight) is float


def test_the_home_folder_is_known_where_no_shell_has_seen_it(monkeypatch):
    monkeypatch.setenv('HOME', '/home/somebody')
    config = EvaluateConfig(
        workdir='~/run', inception_path='~/net', reference_statistics='~/real.npz'
    )
    assert config.workdir == '/home/somebody/run'
    assert config.inception_path == '/home/somebody/net'
    assert config.reference_statistics == '/home/somebody/real.npz'


def test_every_program_is_installed_under_its_name():
    """setup.py makes `flexae-NAME = flexae_tf.cli:NAME` of every bin/NAME.py."""
    from flexae_tf import cli

    names = sorted(path.stem for path in (ROOT / 'bin').glob('*.py'))
    assert set(names) >= {'benchmark', 'doctor', 'evaluate', 'export', 'fit', 'reproduce', 'train'}
    for name in names:
        assert callable(getattr(cli, name))
        code = f'from flexae_tf.cli import {name}; {name}()'
        command = [sys.executable, '-c', code, '--device=nonsense']
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2 and 'error: --' in done.stderr
