"""Options of all programs: limits, required options, contradictions, hashes."""

import dataclasses
import json
import math
import os

import pytest

from flexae_tf import cli
from flexae_tf.config import (
    BenchmarkConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    FitConfig,
    ReproduceConfig,
    ResolvedConfig,
    SampleConfig,
    TrainConfig,
)
from flexae_tf.config.options import Options, from_arguments, option, to_flagfile, type_name
from flexae_tf.errors import UsageError

REQUIRED = {
    FitConfig: dict(workdir='x'),
    SampleConfig: dict(source='x', output_file='y.png'),
    ExportConfig: dict(workdir='x'),
    ReproduceConfig: dict(artifact='table1', output_dir='x'),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example(Options):
    """Options as a method from outside the package defines them, without string annotations."""

    weight: float | None = option(None, 'A weight.', above=0.0, maximum=2.0)
    rate: float = option(1.0, 'A number without limits of its own.')
    names: str = option('a,b', 'Some names.', choices=('a', 'b', 'c'), several=True)
    log_every: int = option(5, 'Interval.', minimum=1, identity=False)


def test_options_convert_integers_to_float():
    assert type(Example(weight=2).weight) is float
    assert Example(weight=2).identity_hash() == Example(weight=2.0).identity_hash()


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(weight=0.0), '--weight=0.0: too small. Use a value above 0.0.'),
        (dict(weight=2.5), '--weight=2.5: too large. Use at most 2.0.'),
        (dict(log_every=0), '--log_every=0: too small. Use at least 1.'),
        (dict(log_every=10**9), '--log_every=1000000000: too large. Use at most 999999999.'),
        (dict(rate=1e39), '--rate=1e+39: too large. Use at most 1e+30.'),
        (dict(rate=math.inf), '--rate=inf: not a finite number. Use one.'),
        (dict(rate=-math.inf), '--rate=-inf: not a finite number. Use one.'),
        (dict(rate=math.nan), '--rate=nan: not a finite number. Use one.'),
        (dict(names='a,d'), '--names=d: unknown. Choose one of a, b, c.'),
        (dict(names='a,'), '--names=: unknown. Choose one of a, b, c.'),
        (dict(names=''), '--names=: empty. Give a value, or leave the flag out.'),
    ],
)
def test_options_refuse_values_outside_limits(given, message):
    with pytest.raises(UsageError) as error:
        Example(**given)
    assert str(error.value) == message


@pytest.mark.parametrize(
    'argument', ['--critic_steps=101', '--training_steps=2147483648', '--width_multiplier=17']
)
def test_train_options_refuse_sizes_that_cannot_be_meant(argument):
    with pytest.raises(UsageError, match=f'{argument}.*: too large'):
        from_arguments(TrainConfig, [argument])


@pytest.mark.parametrize('options', REQUIRED)
def test_options_refuse_missing_required_options(options):
    given = REQUIRED[options]
    assert options(**given)
    for name in given:
        with pytest.raises(UsageError, match=f'--{name}: needed'):
            options(**{**given, name: None})


@pytest.mark.parametrize('options', [TrainConfig, EvaluateConfig, SampleConfig])
def test_options_have_the_same_checks_as_keyword_arguments(options):
    given = REQUIRED.get(options, dict(workdir='x'))
    with pytest.raises(UsageError, match='--device=nonsense: unknown. Choose one of auto'):
        options(**given, device='nonsense')


def test_options_refuse_integers_that_no_float_holds():
    with pytest.raises(UsageError, match=r'--rate=10+: too large\. Use at most 1e\+30\.'):
        Example(rate=10**400)


PROGRAMS = [cli.load(program.config) for program in cli.PROGRAMS.values()]
TEXTS = [(c, f.name) for c in PROGRAMS for f in dataclasses.fields(c) if type_name(f) == 'str']
PATHS = [(c, n) for c, n in TEXTS if c.__dataclass_fields__[n].metadata['path']]


# Options that others need, except for the options of `REQUIRED`.
COMPANIONS = {
    (EvaluateConfig, 'real'): dict(fake='f'),
    (EvaluateConfig, 'fake'): dict(real='r'),
    (SampleConfig, 'output_dir'): dict(source='x'),
    (SampleConfig, 'data_dir'): dict(source='x', output_file='y.png', fit_missing='true'),
}
POSITIONAL = {CompareConfig: ('run',)}


def named(option):
    """Returns the name of a case of `TEXTS`."""
    return f'{option[0].__name__}-{option[1]}'


def parse(option, value):
    """Returns the options of a program with one option, and the options that it needs."""
    options, name = option
    required = REQUIRED.get(options, dict(workdir='x') if options is EvaluateConfig else {})
    given = COMPANIONS.get(option, required) | {name: value}
    return from_arguments(
        options, [*(f'--{n}={v}' for n, v in given.items()), *POSITIONAL.get(options, ())]
    )


def refusal(option, value):
    """Returns the message that refuses a value of an option."""
    with pytest.raises(UsageError) as error:
        parse(option, value)
    return str(error.value)


@pytest.mark.parametrize('option', TEXTS, ids=named)
def test_options_refuse_empty_values(option):
    assert refusal(option, '').startswith(f'--{option[1]}=: empty. Give a ')


@pytest.mark.parametrize('option', PATHS, ids=named)
def test_path_options_refuse_what_is_no_path(option, monkeypatch):
    _, name = option
    monkeypatch.setenv('EMPTY', '')
    monkeypatch.delenv('UNSET', raising=False)
    for path in ('gs://bucket/x', 's3://bucket/x.png', 'hdfs:///x', 'file:///x'):
        assert refusal(option, path).startswith(f'--{name}={path}: a URL, not a path. Use')
    for path, variable in (('$UNSET', 'UNSET'), ('/${UNSET}.png', 'UNSET'), ('$EMPTY/x', 'EMPTY')):
        message = f'--{name}={path}: the variable {variable} is not set. Set it'
        assert refusal(option, path).startswith(message)
    assert 'control characters' in refusal(option, 'a\nb')
    assert 'unknown home folder' in refusal(option, '~no-such-user/x')


@pytest.mark.parametrize('option', PATHS, ids=named)
def test_path_options_are_names_after_expansion(option, monkeypatch):
    options, name = option
    monkeypatch.setenv('HOME', '/home/somebody')
    monkeypatch.setenv('SCRATCH', '/scratch/[$USER]*')
    cases = {
        '~/a.png': '/home/somebody/a.png',
        '$HOME/a.png': '/home/somebody/a.png',
        '${SCRATCH}/$$b.png': '/scratch/[$USER]*/$b.png',
        '[a-z]*?{b}\\ %20 $5.png': '[a-z]*?{b}\\ %20 $5.png',
        '-a "b".png': '-a "b".png',
        os.fsdecode(b'\xff.png'): os.fsdecode(b'\xff.png'),
    }
    suffix = '.md' if options is CompareConfig else '.png'
    for pair in cases.items():
        path, expanded = (name.replace('.png', suffix) for name in pair)
        config = parse(option, path)
        assert getattr(config, name) == expanded
        # From Python, a path is a name, also when options are copied.
        assert getattr(dataclasses.replace(config), name) == expanded
        if options in POSITIONAL:
            continue  # such options are never stored
        stored = from_arguments(options, to_flagfile(config).splitlines())
        assert getattr(stored, name) == os.path.abspath(expanded)
        assert stored.to_json() == config.to_json() == json.loads(json.dumps(config.to_json()))


@pytest.mark.parametrize(
    ('options', 'given', 'word'),
    [
        (SampleConfig, dict(source='x', output_file='x.gif'), '--output_file=x.gif'),
        (SampleConfig, dict(source='x', output_file='x.npz', checkpoint='newest'), 'newest: unk'),
        (ExportConfig, dict(workdir='x', checkpoint='newest'), '--checkpoint=newest'),
        (FitConfig, dict(workdir='x', checkpoint='newest'), '--checkpoint=newest'),
        (FitConfig, dict(workdir='x', density_steps=0), '--density_steps=0'),
        (EvaluateConfig, dict(workdir='x', checkpoint='newest'), '--checkpoint=newest'),
        (EvaluateConfig, dict(workdir='x', sample_seed=3_000_000_000), '--sample_seed=3000000000'),
        (EvaluateConfig, dict(real='x', fake='y', fit_missing=True), '--fit_missing=True'),
        (EvaluateConfig, dict(real='x', fake='y', density='none'), '--density=none'),
        (BenchmarkConfig, dict(iterations=0), '--iterations=0'),
        (BenchmarkConfig, dict(iterations=0, subject='network'), '--iterations=0'),
        (SampleConfig, dict(source='x', output_file='.npz'), '--output_file=.npz: unknown'),
        (SampleConfig, dict(source='x', output_file='a.png', output_dir='b'), 'two outputs'),
        (ReproduceConfig, dict(artifact='tab1', output_dir='x'), '--artifact=tab1: unknown'),
        (ReproduceConfig, dict(output_dir='x'), '--artifact: needed'),
        (ReproduceConfig, dict(artifact='fig2', tune='beta_vae', output_dir='x'), 'one of both'),
        (ReproduceConfig, dict(tune='beta_vae', output_dir='x'), '--dataset: needed'),
        (ReproduceConfig, dict(artifact='fig2', output_dir='x', shard='3/2'), '--shard=3/2'),
        (ReproduceConfig, dict(artifact='fig2', output_dir='x', grid='a=1'), '--grid: needs'),
    ],
)
def test_options_refuse_contradictions(options, given, word):
    with pytest.raises(UsageError) as error:
        options(**given)
    assert word in str(error.value)


@pytest.mark.parametrize(
    ('given', 'word'),
    [
        (dict(render=True), '--render: needs --artifact'),
        (dict(report=True), '--report: needs --artifact'),
        (dict(save_results=True), '--save_results: needs --artifact'),
        (dict(use_saved_results=True), '--use_saved_results: needs --artifact'),
        (dict(shard='1/2'), '--shard: needs --artifact'),
        (dict(methods='vae'), '--methods: needs --artifact'),
        (dict(tuned='runs/tune'), '--tuned: needs --artifact'),
        (dict(finalists=2), '--finalists=2: needs --seeds'),
    ],
)
def test_reproduce_options_refuse_contradictions_with_tune(given, word):
    with pytest.raises(UsageError) as error:
        ReproduceConfig(tune='beta_vae', dataset='mnist', output_dir='x', **given)
    assert word in str(error.value)


def test_reproduce_options_list_artifacts_once():
    config = ReproduceConfig(artifact='fig2,table1,fig2', output_dir='x', shard='2/3')
    assert config.artifact == 'fig2,table1' and config.share() == (1, 3)
    assert config.only('fig2').artifact == 'fig2' and config.only('fig2').share() == (0, 1)
    every = ReproduceConfig(artifact='all', output_dir='x').artifact.split(',')
    assert len(every) == len(set(every)) > 10 and 'table1' in every


def test_train_options_default_to_the_paper():
    c = TrainConfig()
    assert (c.training_steps, c.batch_size, c.critic_steps) == (130_000, 128, 5)
    rates = c.ae_learning_rate, c.critic_learning_rate, c.gen_learning_rate, c.enc_learning_rate
    assert rates == (1e-3, 1e-4, 5e-4, 1e-5)
    assert c.gradient_penalty_weight == 10.0


def test_identity_hash_depends_on_options_that_change_results():
    base = TrainConfig()
    # Pinned: checkpoints store these hashes, and a new option must not change them.
    assert base.identity_hash() == '44136fa355b3'
    assert TrainConfig(seed=2, dataset='mnist').identity_hash() == 'ed42eccb5c21'
    assert base.identity_hash() == TrainConfig(log_every_steps=7, device='cpu').identity_hash()
    assert base.identity_hash() != TrainConfig(seed=1).identity_hash()
    as_int, as_float = (
        TrainConfig(method='wae_gan', adversarial_weight=weight) for weight in (20, 20.0)
    )
    assert as_int.identity_hash() == as_float.identity_hash()
    assert type(as_int.adversarial_weight) is float


def test_resolved_config_keeps_the_options_of_a_subclass():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class MethodConfig(TrainConfig):
        margin: float = option(1.0, 'A margin.')

    given = MethodConfig(margin=3, seed=2)
    resolved = ResolvedConfig.of(given, latent_dim=4, noise_dim=5)
    assert isinstance(resolved, MethodConfig) and isinstance(resolved, ResolvedConfig)
    assert (resolved.margin, resolved.seed, resolved.latent_dim) == (3.0, 2, 4)
    assert type(ResolvedConfig.of(resolved, noise_dim=4)) is type(resolved)
    changed = dataclasses.replace(given, latent_dim=4, noise_dim=5)
    assert resolved.identity_hash() == changed.identity_hash()


def test_resolved_config_needs_both_dimensions():
    with pytest.raises(ValueError, match='noise_dim'):
        ResolvedConfig(latent_dim=2)


def test_flagfile_of_options_gives_equal_options(tmp_path):
    data_dir = os.fsdecode(b'/[a] $b $$ {c}*\\?%20 "\'#-~ \xc3\xa9\xff')
    wanted = TrainConfig(seed=3, bn_mix_generated=True, latent_dim=7, data_dir=data_dir)
    (tmp_path / 'f').write_bytes(os.fsencode(to_flagfile(wanted)))
    assert from_arguments(TrainConfig, [f'--flagfile={tmp_path}/f']) == wanted


def test_metrics_are_scored_once():
    assert EvaluateConfig(workdir='run', metrics='fd,kid,fd').metric_names() == ['fd', 'kid']
