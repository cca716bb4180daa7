"""Plans of artifacts: runs, evaluations, names and shards."""

import collections
import dataclasses

import pytest

from flexae_tf import data, methods
from flexae_tf.config import EvaluateConfig, ReproduceConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.experiments import paper, plans
from flexae_tf.experiments.jobs import evaluated, flagfiles, make_job


def config(artifact='table1', **options):
    return ReproduceConfig(artifact=artifact, **dict(scale='small', output_dir='x') | options)


def planned(artifact, **options):
    return plans.plan(config(artifact, **options))


def count(jobs):
    return dict(collections.Counter(job.config.method for job in jobs))


def test_job_commands_have_all_flags(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = dict(data_dir='data', output_dir='out', seed=3, features='pixels', num_examples=70)
    given = config(training_steps=6, **options)
    job = make_job(given, 'beta_vae', 'mnist', options={'kl_weight': 0.1 * 3})
    job = evaluated(given, job, sets='samples', split='validation')
    job = evaluated(given, job, sets='samples', density='latent_gan')
    assert job.name == 'beta_vae-mnist-small-training_steps=6-kl_weight=0.3-seed=3'
    workdir, data = f'--workdir={tmp_path}/out/runs/{job.name}', f'--data_dir={tmp_path}/data'
    names = ('methods/beta_vae', 'datasets/mnist', 'small/all', 'small/beta_vae_mnist')
    options = ('--training_steps=6', '--kl_weight=0.3', '--seed=3', data, workdir)
    start, density = (workdir, '--checkpoint=6'), '--density=latent_gan'
    shared = ('--sets=samples', '--metrics=fd', '--num_examples=70')
    assert list(job.commands()) == [
        ('train', *(f'--flagfile={name}.flags' for name in names), *options),
        ('evaluate', *start, '--split=validation', *shared, '--features=pixels', data),
        ('fit', *start, density, '--density_steps=3000', data),
        ('evaluate', *start, '--split=test', *shared, density, '--features=pixels', data),
    ]
    found = (job.config.method, job.config.dataset, job.config.latent_dim)
    assert found == ('beta_vae', 'mnist', 32)
    assert [e.method for e in job.evaluations] == ['beta_vae', 'beta_vae+latent_gan']


def test_job_name_states_only_differences_from_the_weights_of_its_scale():
    default = make_job(config(), 'beta_vae', 'mnist')
    assert default.name == 'beta_vae-mnist-small-seed=0'
    for options in ({'kl_weight': 0.5}, {'training_steps': 3000}, plans.SNAPSHOTS):
        job = make_job(config(), 'beta_vae', 'mnist', options=options)
        assert job.name == default.name
        assert job.config.identity() == default.config.identity()
    assert job.config.snapshot_every_steps == 500
    other = make_job(config(), 'beta_vae', 'mnist', options={'kl_weight': 0.1}, seed=4)
    assert other.name == 'beta_vae-mnist-small-kl_weight=0.1-seed=4'
    assert other.config.kl_weight == 0.1  # the default of the paper's scale
    for dataset, weights in {'mnist': (0.5, 0.1), 'cifar10': (0.03, 0.03)}.items():
        for scale, weight in zip(('small', 'paper'), weights, strict=True):
            job = make_job(config(scale=scale), 'beta_vae', dataset)
            assert job.config.kl_weight == weight


@pytest.mark.parametrize(
    'method, options',
    [
        ('beta_vae', {'kl_weight': 0.5}),
        ('vae_flow', {'kl_weight': 0.5}),
        ('vae_flow_prior', {'kl_weight': 0.5}),
        ('vae_vampprior', {'kl_weight': 0.5}),
        ('vae_iop', {'kl_weight': 0.5}),
        ('wae_gan', {'adversarial_weight': 5.0, 'ae_learning_rate': 0.003}),
        ('rae_gmm', {'code_weight': 0.00192, 'decoder_weight': 0.00003}),
        ('two_stage_vae', {'ae_learning_rate': 0.001}),
        ('injflow', {'volume_weight': 0.001}),
        ('mask_aae', {'ae_learning_rate': 0.0005}),
        ('flexae', {'width_multiplier': 0.125, 'training_steps': 3000}),
    ],
)
def test_small_flagfiles_have_the_tuned_weights(method, options):
    job = make_job(config(), method, 'mnist')
    assert {name: getattr(job.config, name) for name in options} == options
    assert job.config.width_multiplier == 0.125 and job.steps == 3000


def test_synthetic_data_have_the_papers_size_at_the_small_scale():
    job = make_job(config(), 'vae', 'synthetic_2d')
    assert (job.steps, job.config.width_multiplier) == (20_000, 1.0)
    for name in ('fig2', 'fig3', 'theorem2'):
        small, whole = planned(name), planned(name, scale='paper')
        assert [job.commands() for job in small] == [job.commands() for job in whole]
    models = dict(vae=3, wae_normal=6, wae_gan=3, wae_gmm_prior=6, flexae=3)
    assert count(planned('fig3')) == models
    dims = [job.config.noise_dim for job in planned('theorem2', seeds=1)]
    assert dims == [2, 3, 5, 10, 50]


def test_paper_scale_is_the_flagfiles():
    job = make_job(config(scale='paper'), 'beta_vae', 'mnist')
    assert job.steps == 130_000 and job.config.width_multiplier == 1.0
    scored = evaluated(config(scale='paper'), job, sets='samples')
    assert '--num_examples=10000' in scored.commands()[1]
    both = ('--flagfile=methods/vae.flags', '--flagfile=datasets/mnist.flags')
    assert flagfiles('vae', 'mnist', 'paper') == both
    own = ('--flagfile=methods/vae_flow_cifar10.flags',)
    assert flagfiles('vae_flow', 'cifar10', 'paper') == own
    with pytest.raises(UsageError, match=r'--flagfile=methods/nonsense.flags: missing\.'):
        flagfiles('nonsense', 'mnist', 'paper')


def test_outside_method_needs_no_flagfile(tmp_path, monkeypatch):
    (tmp_path / 'outside.py').write_text(
        'from flexae_tf.methods import MethodSpec\n'
        'class Own:\n'
        "    method_spec = MethodSpec(title='Own method')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ours, own = planned('table1', methods='flexae,outside:Own', seeds=1)
    assert ours.name == 'flexae-mnist-small-seed=0' and own.name == f'outside.Own{ours.name[6:]}'
    assert own.config.method == 'outside:Own' and own.config.width_multiplier == 0.125
    assert own.train[:2] == ('--method=outside:Own', '--flagfile=datasets/mnist.flags')


def test_table_1_repeats_every_method_after_the_first_seeds():
    jobs = planned('table1')
    trained = {*paper.METHODS, 'vae_flow_prior'} - {'injflow_gmm'}
    assert count(jobs) == dict.fromkeys(trained, 3)
    assert {job.config.dataset for job in jobs} == {'mnist'}
    injflow, *_ = (job for job in jobs if job.config.method == 'injflow')
    assert [e.method for e in injflow.evaluations] == ['injflow', 'injflow_gmm']
    fits = {job.config.method: [e.density for e in job.evaluations] for job in jobs}
    assert fits['ae_gmm'] == ['gaussian_mixture'] and fits['flexae'] == [None]
    assert fits['two_stage_vae'] == ['second_stage']
    assert planned('table1') == planned('table2')
    seeds = [job.config.seed for job in planned('table1', seed=5)]
    assert seeds == sorted(seeds) and set(seeds) == {5, 6, 7}
    assert {job.config.seed for job in planned('table1', seeds=1)} == {0}
    assert set(count(planned('table1', seeds=2)).values()) == {2}


@pytest.mark.parametrize('artifact', plans.ARTIFACTS)
def test_every_artifact_takes_methods_seeds_and_a_data_set(artifact):
    dataset = plans.ARTIFACTS[artifact].datasets[-1]
    jobs = planned(artifact, methods='flexae', seeds=2, dataset=dataset)
    assert {job.config.method for job in jobs} == {'flexae'}
    assert {job.config.dataset for job in jobs} == {dataset}
    assert {job.config.seed for job in jobs} == ({0, 1} if jobs[0].evaluations else {0})


def test_shards_are_a_partition_and_artifacts_share_jobs():
    assert config('fig2,table1,fig2').artifact == 'fig2,table1'
    whole = [job.name for job in planned('table1,fig3')]
    parts = [[job.name for job in planned('table1,fig3', shard=f'{i}/4')] for i in (1, 2, 3, 4)]
    assert sorted(sum(parts, [])) == sorted(whole) and len(set(whole)) == len(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    # A shared job has the evaluations of both artifacts.
    both = {job.name: job for job in planned('fig2,theorem2')}
    for name in ('fig2', 'theorem2'):
        for job in planned(name):
            assert set(job.evaluations) <= set(both[job.name].evaluations)
            assert job.train == both[job.name].train
    shared = both['flexae-synthetic_5d-paper-seed=0']
    assert [e.config.checkpoint for e in shared.evaluations] == ['all', '20000', '20000']


def test_table_3_has_the_papers_sizes():
    jobs = planned('table1,table3', methods='flexae', dataset='fashion_mnist', seeds=1)
    assert {job.resolved.latent_dim for job in jobs} == {16, 32, 64}  # the paper has none
    sizes = {(job.config.method, job.config.latent_dim) for job in planned('table3')}
    assert sizes == {(m, k) for m in ('wae_gan', 'flexae') for k in (20, 40, 80)}
    jobs = planned('table3', scale='paper', dataset='celeba')
    # 2 m_b is Table 1's own size, so it is the same run.
    assert 'flexae-celeba-paper-seed=0' in [job.name for job in jobs]
    assert {job.config.latent_dim for job in jobs} == {64, 128, 256}


def test_fig5_and_joint_have_further_evaluations():
    others = {'flexae': 'gaussian_mixture', 'ae_gmm': 'latent_gan'}
    rows = {j.config.method: [e.method for e in j.evaluations] for j in planned('joint')}
    assert rows == {m: [m, f'{m}+{other}'] for m, other in others.items()}
    jobs = planned('fig5', scale='paper', dataset='mnist')
    assert [job.config.generator_capacity for job in jobs] == [1, 2, 3, 4, 5, 6]
    for job in jobs:
        assert (job.config.train_examples, job.steps) == (5000, 30_000)
        against = [(e.config.split, e.config.num_examples) for e in job.evaluations]
        assert against == [('test', 5000), ('train', 5000)]  # not more than training images


def test_batch_norm_varies_averages_and_scores_validation_images():
    jobs = planned('batch_norm', methods='flexae,flexae_sr,vae', seeds=1)
    found = [(j.config.method, j.config.bn_momentum, j.config.bn_mix_generated) for j in jobs]
    plain = [(m, v, m == 'flexae_sr') for m in methods.METHODS for v in (0.99, 0.9, 0.85)]
    plain = [one for one in plain if one[0] in ('flexae', 'flexae_sr', 'vae')]
    own = [('flexae', 0.66, False), ('flexae', 0.81, True), ('flexae_sr', 0.87, True)]
    assert sorted(found) == sorted(plain + own)
    # An iteration of the release updates the decoder's averages 42 times with momentum 0.99.
    for updates, momentum in zip((1, 2, 3), (0.66, 0.81, 0.87), strict=True):
        assert momentum**updates == pytest.approx(0.99**42, abs=0.01)
    evaluations = [e.config for job in jobs for e in job.evaluations]
    assert {(e.split, e.num_examples) for e in evaluations} == {('validation', 1000)}
    again = [job.config.method for job in jobs if job.evaluations[0].config.recalibrate_batch_norm]
    assert again == ['flexae', 'flexae_sr', 'vae']


def test_recalibration_uses_the_batches_that_a_small_data_set_has():
    jobs = planned('batch_norm', dataset='digits', seeds=1)
    found = [e.config.recalibrate_batch_norm for job in jobs for e in job.evaluations]
    available = data.describe(jobs[0].config).train_size // jobs[0].config.batch_size
    assert 0 < max(found) <= available


def test_densities_are_fitted_only_for_what_is_sampled():
    def fits(artifact):
        (job,) = planned(artifact, methods='ae_gmm', seeds=1)
        return [e.fit for e in job.evaluations]

    assert fits('reconstructions') == [()]
    assert all(fits('fig6')) and fits('fig6') and all(fits('table1'))  # images of samples need it
    assert planned('fig6')[0].evaluations == ()


def test_fig2_has_only_mixtures_of_its_data():
    mixtures = [job.config.mixture for job in planned('fig2', methods='wae_gmm_prior', seeds=1)]
    assert mixtures == ['circle']
    assert len(planned('fig3', methods='wae_gmm_prior', seeds=1)) == 2


def test_names_do_not_depend_on_where_the_steps_come_from():
    names = [planned('fig5', training_steps=steps)[0].name for steps in (None, 3000)]
    assert names[0] == names[1]


def test_xla_does_not_change_a_run():
    plain, compiled = planned('table1,fig2'), planned('table1,fig2', jit_compile='on')
    assert [job.name for job in plain] == [job.name for job in compiled]
    for job, faster in zip(plain, compiled, strict=True):
        assert faster.config == dataclasses.replace(job.config, jit_compile='on')
        assert faster.config.identity_hash() == job.config.identity_hash()
        assert faster.evaluations == job.evaluations


def test_methods_has_every_method_trained_and_untrained():
    jobs = planned('methods')
    trained = {job.config.method: job for job in jobs if job.steps}
    untrained = {job.config.method: job for job in jobs if not job.steps}
    assert set(trained) == set(untrained) == set(methods.AUTOENCODERS) - {'injflow_gmm'}
    table_1 = {job.name: job for job in planned('table1', seeds=1)}
    for method, job in trained.items():
        before = untrained[method]
        assert len(before.evaluations) == len(job.evaluations) == 1 + (method == 'injflow')
        assert {e.config.sets for e in before.evaluations} == {'samples'}
        assert table_1.get(job.name, job) == job
        assert dataclasses.replace(before.config, training_steps=3000) == job.config


def test_smoke_scale_plans_every_artifact_on_tiny_networks():
    jobs = planned('all', scale='smoke')
    assert {job.config.dataset for job in jobs} == {'digits', 'synthetic_2d', 'synthetic_5d'}
    for job in jobs:
        assert job.steps <= 6 and job.config.width_multiplier == 0.05 and job.resolved


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(artifact='table9'), '--artifact=table9: '),
        (dict(artifact='table1,'), '--artifact=: '),
        (dict(artifact='fig2', dataset='mnist'), '--dataset=mnist: fig2 needs synthetic_5d'),
        (dict(artifact='table1', dataset='synthetic_2d'), 'table1 needs a data set of images'),
        (dict(artifact='fig5', methods='flexae,wae_gan'), 'fig5 has rows for flexae only'),
        (dict(artifact='theorem1', methods='wae_gan'), 'rows for wae_normal, flexae only'),
        (dict(artifact='theorem2', methods='wae_normal'), '--methods=wae_normal: theorem2 '),
        (dict(artifact='joint', methods='two_stage_vae'), 'samples of a posterior'),
        (dict(artifact='fig2', methods='vae'), '--methods=vae: fig2 compares codes'),
        (dict(artifact='fig2', shard='3/2'), '--shard=3/2: '),
        (dict(artifact='fig2', shard='0/2'), '--shard=0/2'),
        (dict(artifact='fig2', shard='x'), '--shard=x'),
        (dict(artifact='fig2', tune='vae'), '--artifact'),
        (dict(artifact='fig2', output_dir=None), '--output_dir'),
        (dict(artifact='fig2', grid='kl_weight=1'), '--grid'),
        (dict(artifact='fig2', methods='nonsense'), 'nonsense'),
        (dict(artifact=None, tune='vae', dataset='mnist', render=True), '--render'),
        (dict(artifact=None, tune='vae', dataset='mnist', shard='2/8'), '--shard'),
        (dict(artifact=None, tune='vae', dataset='mnist', methods='vae'), '--methods'),
    ],
)
def test_plan_refuses_wrong_flags(options, words):
    with pytest.raises(UsageError, match=words):
        plans.plan(ReproduceConfig(**dict(output_dir='x') | options))


def test_samples_are_scored_by_the_protocol_of_the_other_rows(tmp_path):
    folder = tmp_path / 'a $b c'
    folder.mkdir()
    options = dict(artifact='table1', scale='small', output_dir=str(tmp_path / 'out'), seeds=1)
    options |= dict(data_dir='DATA', feature_layer='mixed_7', num_examples=40)
    given = ReproduceConfig(methods=f'vae,mine={folder}', **options)
    mine, vae = plans.plan(given)
    ((program, *flags),) = mine.commands()
    ours, theirs = from_arguments(EvaluateConfig, flags), vae.evaluations[0].config
    assert mine.state() == 'not evaluated'
    assert program == 'evaluate' and ours.fake == str(folder) and ours.dataset == 'mnist'
    assert ours.output_file == str(tmp_path / 'out/runs' / mine.name / 'scores.jsonl')
    for name in ('metrics', 'num_examples', 'split', 'feature_layer', 'features', 'data_dir'):
        assert getattr(ours, name) == getattr(theirs, name)
    assert plans.plan(ReproduceConfig(methods=f'mine={folder}', **options)) == [mine]
    (folder / '0.png').write_bytes(b'')  # changed samples are scored again
    assert plans.plan(given)[0].name != mine.name


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        (dict(methods='mine=/missing'), MissingDataError, ['--methods=mine=/missing', 'no such']),
        (dict(methods='mine='), UsageError, ['--methods=mine=', 'empty']),
        (dict(methods='my/row=/tmp'), UsageError, ['my/row', 'letters']),
        (dict(artifact='fig2,table1'), UsageError, ['fig2', 'table1, table2, methods']),
        (dict(scale='paper'), UsageError, ['--dataset']),
    ],
)
def test_samples_that_no_table_can_hold_are_refused(options, error, words, tmp_path):
    fixed = dict(artifact='table1', scale='small', methods=f'mine={tmp_path}', output_dir='out')
    with pytest.raises(error) as refused:
        plans.plan(ReproduceConfig(**fixed | options))
    for word in words:
        assert word in str(refused.value)
