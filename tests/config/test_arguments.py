"""Command lines: flags, flagfiles, old names, and flags of methods from outside the package."""

import dataclasses
import os

import pytest

from flexae_tf import data
from flexae_tf.config import (
    BenchmarkConfig,
    CompareConfig,
    EvaluateConfig,
    ReproduceConfig,
    SampleConfig,
    TrainConfig,
    options,
)
from flexae_tf.config.options import expand_flagfiles, find_flagfile, from_arguments, option
from flexae_tf.errors import UsageError
from flexae_tf.methods import AUTOENCODERS, METHODS, resolve
from tests.conftest import ROOT


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutsideConfig(TrainConfig):
    """Options of a method from outside the package."""

    margin: float = option(1.0, 'A margin.', above=0.0)


def outside(name):
    """Returns the dataclass for a value of --method."""
    return OutsideConfig if name == 'outside:Method' else TrainConfig


def refusal(config, *arguments, **keywords):
    """Returns the message that refuses some arguments."""
    with pytest.raises(UsageError) as error:
        from_arguments(config, arguments, **keywords)
    return str(error.value)


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('--batch_sise=3', '--batch_sise: unknown flag. Did you mean --batch_size?'),
        ('--xyz', '--xyz: unknown flag. See --help.'),
        ('--' + 'x' * 3000, '--' + 'x' * 58 + '...: unknown flag. See --help.'),
        ('--batch_size=many', '--batch_size=many: invalid value. Use an integer.'),
        ('--kl_weight=many', '--kl_weight=many: invalid value. Use a number.'),
        ('--nodownload=true', '--nodownload: takes no value. Give the flag without one.'),
        ('--download=many', '--download=many: invalid value. Use true or false.'),
        ('--batch_size', '--batch_size: no value. Use --batch_size=VALUE.'),
        ('--batch_size=0', '--batch_size=0: too small. Use at least 2.'),
        ('--latent_dim=0', '--latent_dim=0: too small. Use at least 1.'),
        ('--ae_learning_rate=0', '--ae_learning_rate=0.0: too small. Use a value above 0.0.'),
        ('--seed=4294967296', '--seed=4294967296: too large. Use at most 2147483647.'),
        ('stray', 'stray: not a flag. Write flags as --name=value.'),
    ],
)
def test_arguments_refuse_wrong_flags(argument, message):
    assert refusal(TrainConfig, argument) == message


def test_arguments_that_are_no_flags_are_the_positional_option(tmp_path):
    (tmp_path / 'x.flags').write_text('--metrics=fd\n')
    arguments = ['a=1', f'--flagfile={tmp_path}/x.flags', '$b', '--output_file=x.md', '--', '--c']
    config = from_arguments(CompareConfig, arguments)
    assert config.runs == ('a=1', '$b', '--c')
    assert (config.metrics, config.output_file) == ('fd', 'x.md')
    for refused in ('', 'gs://bucket/run'):
        assert refusal(CompareConfig, 'a', refused).startswith(f'RUN={refused}: ')
    assert refusal(CompareConfig).startswith('RUN: needed.')
    assert '--run: unknown flag' in refusal(CompareConfig, '--run=a')


def test_arguments_take_the_last_of_repeated_flags():
    assert from_arguments(TrainConfig, ['--seed=1', '--seed', '2', '--nodownload']).seed == 2


@pytest.mark.parametrize(
    ('config', 'old', 'new'),
    [
        (TrainConfig, '--snapshot_steps=5', '--snapshot_every_steps=5'),
        (TrainConfig, '--generator=capacity_3', '--generator_capacity=3'),
        (BenchmarkConfig, '--snapshot_steps=5', '--snapshot_every_steps=5'),
        (EvaluateConfig, '--kinds=rec,gen', '--sets=reconstructions,samples'),
        (EvaluateConfig, '--sets=floor,latents', '--sets=train,latents'),
        (EvaluateConfig, '--metrics=fd,kd', '--metrics=fd,kid'),
        (EvaluateConfig, '--metrics=improved', '--metrics=precision_recall'),
        (EvaluateConfig, '--metrics=density', '--metrics=density_coverage'),
        (EvaluateConfig, '--real_statistics=x', '--reference_statistics=x'),
        (EvaluateConfig, '--foreign_statistics', '--allow_unverified_statistics'),
        (EvaluateConfig, '-stretch', '-minmax_normalize'),
        (EvaluateConfig, '--nostretch', '--nominmax_normalize'),
        (EvaluateConfig, '--quantisation=none', '--quantization=none'),
        (EvaluateConfig, '--output=x', '--output_file=x'),
        (EvaluateConfig, '--ex_post=none', '--density=none'),
        (EvaluateConfig, '--ex_post_steps=5', 'bin/fit.py --density_steps=5'),
        (EvaluateConfig, '--density_steps=5', 'bin/fit.py --density_steps=5'),
        (SampleConfig, '--output=x.png', '--output_file=x.png'),
        (ReproduceConfig, '--output=x', '--output_dir=x'),
        (ReproduceConfig, '--record', '--save_results'),
        (ReproduceConfig, '--recorded', '--use_saved_results'),
        (ReproduceConfig, '--list', '--dry_run'),
        (ReproduceConfig, '--options=a', '--grid=a'),
        (ReproduceConfig, '--tuned_options=a', '--grid=a'),
    ],
)
def test_arguments_refuse_old_names_with_the_new_name(config, old, new, tmp_path):
    message = refusal(config, old)
    assert message.startswith(f'{old}: ') and message.endswith(f' Use {new}.')
    (tmp_path / 'old.flags').write_text(f'# comment\n{old}\n')
    assert refusal(config, f'--flagfile={tmp_path}/old.flags') == message


def test_arguments_refuse_old_values_after_a_space():
    for old, new in (('--metrics kd,fd', '--metrics kid,fd'), ('--kinds gen', '--sets samples')):
        message = f'{old}: renamed. Use {new}.'
        assert refusal(EvaluateConfig, *old.split()) == message
        assert refusal(EvaluateConfig, '--workdir=x', *old.split(), '--split=test') == message
    assert refusal(EvaluateConfig, '--kinds', '--workdir=x') == '--kinds: renamed. Use --sets.'


def test_arguments_include_the_flags_of_the_method(tmp_path):
    (tmp_path / 'f').write_text('--method=outside:Method\n--margin=2\n')
    flagfile = f'--flagfile={tmp_path}/f'
    config = from_arguments(TrainConfig, [flagfile, '--seed=3'], config_class=outside)
    assert (type(config), config.margin, config.seed) == (OutsideConfig, 2.0, 3)
    parsed = from_arguments(TrainConfig, ['--seed=3'], config_class=outside)
    assert type(parsed) is TrainConfig
    for arguments, words in (
        (['--margin=2'], '--margin: unknown flag.'),
        ([flagfile, '--margin=0'], '--margin=0.0: too small.'),
        ([flagfile, '--margn=1'], 'Did you mean --margin?'),
    ):
        assert words in refusal(TrainConfig, *arguments, config_class=outside)


def test_flagfile_is_searched_in_three_folders(tmp_path, monkeypatch):
    package, including, working = (tmp_path / name for name in ('flags', 'including', 'working'))
    for folder in (package, including, working):
        folder.mkdir()
    monkeypatch.setattr(options, 'FLAGFILES', package)
    monkeypatch.chdir(working)
    assert find_flagfile('x.flags', including) is None
    for folder in (package, including, working):
        (folder / 'x.flags').write_text(f'--data_dir={folder.name}')
        assert find_flagfile('x.flags', including).resolve() == folder / 'x.flags'
    assert find_flagfile('flags/x.flags').resolve() == package / 'x.flags'
    assert find_flagfile(str(package / 'x.flags')) == package / 'x.flags'
    (working / 'x.flags').unlink()
    (including / 'y.flags').write_text('--seed=1\n\n// comment\n--flagfile=x.flags\n')
    expanded = expand_flagfiles(['--a', f'--flagfile={including}/y.flags', '--b'])
    assert expanded == ['--a', '--seed=1', '--data_dir=including', '--b']


def test_flagfile_refuses_missing_and_recursive_files(tmp_path):
    message = refusal(TrainConfig, '--flagfile=nowhere.flags')
    assert message.startswith('--flagfile=nowhere.flags: no such file in the working directory')
    (tmp_path / 'a').write_text('--flagfile=b')
    (tmp_path / 'b').write_text('--flagfile=a')
    assert refusal(TrainConfig, '--flagfile', f'{tmp_path}/a') == (
        '--flagfile=a: includes itself. Remove that line.'
    )
    (tmp_path / 'c').write_text('--seed=1', encoding='utf-16')
    assert 'not a text in UTF-8' in refusal(TrainConfig, f'--flagfile={tmp_path}/c')


def test_flagfile_has_variables(tmp_path, monkeypatch):
    """Variables of the environment, and the folder of the file itself."""
    folder = tmp_path / '[$a]'
    folder.mkdir()
    (folder / 'f').write_text(
        '--data_dir=$SCRATCH/data\n--workdir=${FLAGFILE_DIR}/run\n--flagfile=$SCRATCH/seed\n'
    )
    (tmp_path / 'seed').write_text('--seed=3\n')
    monkeypatch.setenv('SCRATCH', str(tmp_path))
    monkeypatch.chdir(folder)
    for name in ('f', f'{tmp_path}/[$$a]/f', '${SCRATCH}/[$$a]/f'):
        config = from_arguments(TrainConfig, [f'--flagfile={name}'])
        assert config.data_dir == f'{tmp_path}/data'
        assert os.path.abspath(config.workdir) == f'{folder}/run'
        assert config.seed == 3
    # Flags of the command line and relative paths belong to the working directory.
    config = from_arguments(TrainConfig, ['--flagfile=f', '--workdir=there'])
    assert config.workdir == 'there'
    monkeypatch.setenv('HOME', str(folder))
    assert from_arguments(TrainConfig, ['--flagfile=~/f']).seed == 3
    monkeypatch.delenv('SCRATCH')
    message = refusal(TrainConfig, '--flagfile=f')
    assert message.startswith('--flagfile=$SCRATCH/seed: the variable SCRATCH is not set.')
    assert refusal(TrainConfig, '--flagfile=').startswith('--flagfile=: empty.')
    assert refusal(TrainConfig, '--flagfile=gs://x/f').startswith('--flagfile=gs://x/f: a URL')


def read(*flagfiles):
    """Returns the training options of flagfiles of the package."""
    return from_arguments(TrainConfig, [f'--flagfile={name}' for name in flagfiles])


METHOD_FILES = sorted(path.stem for path in ROOT.glob('flags/methods/*.flags'))
DATASET_FILES = sorted(path.stem for path in ROOT.glob('flags/datasets/*.flags'))


@pytest.mark.parametrize('flagfile', sorted(ROOT.glob('flags/**/*.flags')), ids=lambda p: p.name)
def test_flagfile_of_the_package_is_valid(flagfile):
    files = [flagfile]
    if flagfile.parent.name == 'small' and flagfile.stem != 'all':  # METHOD_mnist.flags
        files = [f'methods/{flagfile.stem.removesuffix("_mnist")}.flags', flagfile]
    config = read(*files)
    if config.dataset != 'folder':  # its description needs images
        resolve(config, data.describe(config))


@pytest.mark.parametrize('name', METHOD_FILES)
def test_flagfile_of_a_method_selects_it(name):
    """METHOD_DATASET changes the method's own options, rates and critic steps only."""
    config = read(f'methods/{name}.flags')
    if name == config.method:
        return
    assert name == f'{config.method}_{config.dataset}'
    general = read(f'methods/{config.method}.flags', f'datasets/{config.dataset}.flags')
    differing = [k for k, v in vars(config).items() if v != getattr(general, k)]
    chosen = {'critic_steps', *(f'{part}_learning_rate' for part in ('ae', 'critic', 'enc'))}
    row = METHODS[config.method]
    assert differing and set(differing) <= {*row.required_options, *row.optional_options, *chosen}


def test_flagfile_exists_for_every_method_and_fits_every_data_set():
    assert set(AUTOENCODERS) <= set(METHOD_FILES)
    for method in AUTOENCODERS:
        for dataset in set(DATASET_FILES) - {'folder'}:
            config = read(f'methods/{method}.flags', f'datasets/{dataset}.flags')
            config = resolve(config, data.describe(config))
            assert (config.method, config.dataset) == (method, dataset)
            assert config.training_steps == (20_000 if 'synthetic' in dataset else 130_000)


@pytest.mark.parametrize(
    ('name', 'option', 'numbers'),
    [
        ('beta_vae', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_flow', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_flow_prior', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_vampprior', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_iop', 'kl_weight', (0.1, 0.03, 0.1)),
        ('vae_vampprior', 'num_pseudo_inputs', (500, 128, 128)),
    ],
)
def test_flagfile_has_the_values_of_each_data_set(name, option, numbers):
    for dataset, number in zip(('mnist', 'cifar10', 'celeba'), numbers, strict=True):
        own = f'{name}_{dataset}' if f'{name}_{dataset}' in METHOD_FILES else name
        config = read(f'methods/{own}.flags', f'datasets/{dataset}.flags')
        assert getattr(config, option) == number
