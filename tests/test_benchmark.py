import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.benchmark import communication, program, timing, training
from flexae_tf.benchmark.phases import trace_phases
from flexae_tf.benchmark.report import to_json, to_text
from flexae_tf.benchmark.variants import check_request, variants
from flexae_tf.config import BenchmarkConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.config.train import training_flagfiles
from flexae_tf.errors import NonFiniteLossError, UsageError, UserError
from flexae_tf.methods import AUTOENCODERS, build_method
from flexae_tf.metrics.table import METRICS
from flexae_tf.training.trainer import Trainer
from tests.evaluation.networks import TinyInception

TINY = dict(iterations=2, warmup=1, batch_size=8, critic_steps=1)


@pytest.fixture
def report(capsys, monkeypatch):
    """`report(**options)`: runs the program on small data and returns what it prints."""
    monkeypatch.setattr(timing, 'EXAMPLES', 200)
    monkeypatch.setattr(timing, 'SERIES_SECONDS', 0.01)
    monkeypatch.setattr(training, 'MATRIX', 64)

    def run(**options):
        program.benchmark(BenchmarkConfig(json=True, **options))
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope='module')
def method(config, synthetic):
    """FlexAE with two critic steps."""
    return build_method(config(critic_steps=2), synthetic.spec)


@pytest.fixture(scope='module')
def phases(method):
    """The phases of `method`."""
    return trace_phases(method, 16, jit_compile=False)


def column(rows, key):
    """Returns the values of a column of a table."""
    return [row[key] for row in rows]


class TestReport:
    """The two forms of a report."""

    REPORT = {
        'device': 'CPU',
        'unknown': None,
        'start': {'compile_seconds': 1.23456, 'bytes': 12345},
        'phases': [{'phase': 'ae', 'seconds': 0.01}, {'phase': 'critic', 'seconds': None}],
    }

    def test_text_is_aligned(self):
        assert to_text(self.REPORT).splitlines() == [
            'device   CPU',
            'unknown  -',
            '',
            'start',
            '  compile seconds  1.235',
            '  bytes            12,345',
            '',
            'phases',
            '  phase   seconds',
            '  ae         0.01',
            '  critic        -',
        ]

    def test_json_has_the_same_content_in_one_line(self):
        line = to_json(self.REPORT)
        assert '\n' not in line
        assert json.loads(line) == self.REPORT | {
            'start': {'compile_seconds': 1.235, 'bytes': 12345}
        }


class TestTraining:
    """`--subject=training`."""

    def test_training_is_measured_by_phases(self, report):
        found = report(dataset='synthetic_2d', method='wae_gan', adversarial_weight=1.0, **TINY)
        iteration, phases = found['iteration'], found['phases']
        assert iteration['minimum'] <= iteration['seconds'] <= iteration['maximum']
        speed = iteration['tflop'] / iteration['seconds']
        assert iteration['tflop_per_second'] == pytest.approx(speed, rel=0.01)
        assert column(phases, 'phase') == ['ae', 'critic', 'batch', 'host']
        assert sum(column(phases, 'seconds')) == pytest.approx(iteration['seconds'], rel=0.01)
        assert sum(column(phases, 'share')) == pytest.approx(1.0, rel=0.01)
        flop = column(phases, 'tflop')
        assert all(count > 0.0 for count in flop[:2]) and flop[2:] == [None, None]
        assert sum(flop[:2]) == pytest.approx(iteration['tflop'], rel=0.1)
        assert column(found['ceilings'], 'operation') == ['matrix product']
        assert found['memory']['peak_memory_gib'] > 0.1
        start = found['start']
        assert start['start_up_seconds'] > 0.0
        assert 0.0 < start['compile_seconds'] < start['first_call_seconds']
        assert min(found['checkpoint'].values()) > 0.0

    @pytest.mark.usefixtures('short_networks')
    def test_convolutions_of_the_networks_are_a_ceiling(self, report):
        found = report(dataset='mnist', method='ae_gmm', **TINY)
        ceilings = found['ceilings']
        assert column(ceilings, 'operation') == ['matrix product', 'forward convolutions']
        for row in ceilings:
            share = found['iteration']['tflop_per_second'] / row['tflop_per_second']
            assert row['share_reached'] == pytest.approx(share, rel=0.01)

    def test_diverged_training_is_no_measurement(self, config, synthetic):
        dataset = timing.random_dataset(synthetic.spec)
        dataset.train.x[:] = np.nan
        timer = timing.LoopTimer(Trainer(config(method='ae_gmm'), dataset), warmup=1)
        with pytest.raises(NonFiniteLossError, match='--dataset=synthetic_2d: not finite'):
            timer.seconds()  # the loop ends after its first iteration


class TestPhases:
    """Functions that run an iteration up to the end of a phase."""

    @pytest.fixture
    def effect(self, method):
        """`effect(function)`: returns the variables that it changes, from the same start."""
        start = [v.numpy() for v in method.state]
        x = np.random.RandomState(0).rand(method.batches_per_step, 16, 128).astype(np.float32)

        def run(function):
            for v, value in zip(method.state, start, strict=True):
                v.assign(value)
            function(tf.constant(x), tf.constant(3, tf.int64))
            after = {v.path: v.numpy() for v in method.state}
            for v, value in zip(method.state, start, strict=True):
                if np.array_equal(after[v.path], value):
                    del after[v.path]
                v.assign(value)
            return after

        return run

    def test_last_phase_is_the_whole_iteration(self, method, phases, effect):
        assert [phase.name for phase in phases] == ['ae', 'critic', 'gen', 'enc']
        whole, last = effect(tf.function(method.train_step)), effect(phases[-1].run)
        assert whole.keys() == last.keys()
        for path, value in whole.items():
            np.testing.assert_array_equal(last[path], value, err_msg=path)

    def test_each_phase_adds_its_updates(self, method, phases, effect):
        optimizers = ('ae', 'critic', 'gen', 'enc')
        changed = [effect(phase.run) for phase in phases]
        counts = [
            [int(variables.get(f'{name}/iteration', 0)) for name in optimizers]
            for variables in changed
        ]
        assert counts == [[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 1, 0], [1, 2, 1, 1]]
        critic = {v.path for v in method.critic.trainable_variables if v.path.endswith('kernel')}
        assert not critic & changed[0].keys() and critic <= changed[1].keys()
        for path in critic:  # later phases leave them as they are
            np.testing.assert_array_equal(changed[3][path], changed[1][path])

    def test_xla_keeps_the_updates(self, method, phases, effect):
        compiled = trace_phases(method, 16, jit_compile=True)  # XLA compiles when a phase runs
        expected, found = effect(phases[0].run), effect(compiled[0].run)
        assert expected.keys() == found.keys()
        for v in method.autoencoder_variables:
            np.testing.assert_allclose(found[v.path], expected[v.path], atol=1e-5)

    def test_optimizers_work_as_before(self, method, phases):
        optimizers = [v for v in vars(method).values() if isinstance(v, keras.optimizers.Optimizer)]
        assert len(optimizers) == 4 == len(phases)
        assert not any('apply_gradients' in vars(optimizer) for optimizer in optimizers)


class TestCompare:
    """`--compare`."""

    def test_variants_take_turns_in_processes(self, here, capsys):
        variants = '; --batch_size=16; --method=beta_vae'
        flags = ['--dataset=synthetic_2d', '--method=ae_gmm', '--batch_size=8', '--iterations=3']
        with pytest.raises(UserError, match='--compare=--method=beta_vae: --kl_weight') as error:
            here('benchmark', *flags, f'--compare={variants}', '--json')
        assert error.value.exit_code == UsageError.exit_code
        found = json.loads(capsys.readouterr().out)
        rows = found['variants']
        assert column(rows, 'variant') == ['unchanged', '--batch_size=16']
        assert column(found['failed'], 'variant') == ['--method=beta_vae']
        assert rows[0]['ratio'] == rows[0]['ratio_minimum'] == rows[0]['ratio_maximum'] == 1.0
        for row in rows:
            assert 0.0 < row['minimum'] <= row['seconds'] <= row['maximum']
            assert 0.0 < row['ratio_minimum'] <= row['ratio'] <= row['ratio_maximum']
            assert row['peak_memory_gib'] > 0.1 and row['compile_seconds'] > 0.0
        flop = [row['tflop_per_second'] * row['seconds'] for row in rows]
        assert 1.5 * flop[0] < flop[1] < 2.5 * flop[0]  # twice the batch

    @pytest.mark.parametrize(
        ('options', 'words'),
        [
            (dict(compare='--batch_size=1'), '--batch_size=1: too small'),
            (dict(compare='--method=vaee'), '--method=vaee: unknown method'),
            (dict(compare='--width=1'), '--width: unknown flag'),
            (dict(compare='--data_dir="a'), '--compare=--data_dir="a: No closing quotation'),
            (dict(compare='', subject='training'), '--compare=: empty'),
            (dict(compare='--batch_size=8', subject='metrics'), '--compare: compares trainings'),
            (dict(compare='--subject=methods'), '--subject is for all variants'),
            (dict(compare='--seed=1;--iterations=3'), 'iterations=3: --iterations is for all'),
            (dict(iterations=0), '--iterations=0'),
            (dict(dry_run=True), '--dry_run: trains nothing'),
            (dict(replay_step=3), '--replay_step=3: trains nothing'),
        ],
    )
    def test_flags_are_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            check_request(BenchmarkConfig(**options))

    def test_variant_has_the_common_flags_and_its_own(self):
        config = BenchmarkConfig(dataset='mnist', data_dir='a$b', batch_size=8, compare='--seed=3;')
        parsed = [from_arguments(BenchmarkConfig, flags) for _, flags in variants(config)]
        assert [(c.seed, c.batch_size, c.dataset) for c in parsed] == [
            (3, 8, 'mnist'),
            (BenchmarkConfig().seed, 8, 'mnist'),
        ]
        assert all(c.data_dir.endswith('a$b') and c.compare is None for c in parsed)


class TestCommunication:
    """`--subject=communication`."""

    def test_exchanged_bytes_are_counted(self, here, capsys):
        flags = ['--dataset=synthetic_2d', '--critic_steps=2', '--step_seconds=0.01', '--json']
        here('benchmark', '--subject=communication', '--batch_size=8', *flags)
        found = json.loads(capsys.readouterr().out)
        rows = {row['kind']: row for row in found['exchanged_by_a_replica']}
        assert rows['gradients and others']['collectives'] == 5  # ae, 2 x critic, gen, enc
        assert rows['values for the log']['collectives'] == 1
        for key in ('collectives', 'bytes'):
            assert rows['all'][key] == sum(r[key] for kind, r in rows.items() if kind != 'all')
        for row in found['predicted']:
            efficiency = 0.01 / (0.01 + row['seconds'])
            assert row['efficiency'] == pytest.approx(efficiency, rel=1e-3)
        assert column(found['predicted'], 'gpus') == [2, 4, 8, 16, 32]

    @pytest.mark.usefixtures('short_networks')
    def test_sizes_are_the_trained_variables_and_moments(self, config, mirrored):
        options = config(dataset='mnist', method='ae_gmm', batch_size=4)
        dataset = timing.random_dataset(program.data.describe(options))
        trainer = Trainer(options, dataset, strategy=mirrored(2))
        method = trainer.method
        layers = [*method.encoder.layers, *method.decoder.layers]
        moments = [2 * x.gamma.shape[0] for x in layers if isinstance(x, communication.BatchNorm)]
        weights = sum(v.shape.num_elements() for v in method.autoencoder_variables)
        # The moments in both directions, and the gradient.
        assert communication.collective_sizes(trainer) == sorted([*2 * moments, weights])

    def test_time_of_a_ring_follows_the_formula(self, monkeypatch):
        for name, value in dict(
            BASE_SECONDS=100.0, HOP_SECONDS=1.0, NETWORK_HOP_SECONDS=10.0, NVLINK=4.0, NETWORK=2.0
        ).items():
            monkeypatch.setattr(communication, name, value)
        monkeypatch.setattr(communication, 'REACHED', 0.5)
        seconds = communication.all_reduce_seconds
        # One machine: 2 x 3 hops, and 1.5 x the bytes at 2 bytes per second.
        assert seconds(communication.Cluster(1, 4), 8) == 100.0 + 6.0 + 6.0
        # Two machines: 2 x 2 hops inside, 2 between them, and 1.5 x the bytes at 1 byte per second.
        assert seconds(communication.Cluster(2, 2), 8) == 100.0 + 4.0 + 20.0 + 12.0


def test_methods_are_measured_in_turns(report, monkeypatch):
    monkeypatch.setattr(program, 'AUTOENCODERS', ('flexae', 'ae_gmm'))
    options = dict(subject='methods', dataset='synthetic_5d', iterations=3, warmup=1, batch_size=8)
    found = report(**options)
    assert set(found['seconds']) == {'flexae', 'ae_gmm'} and found['batch_size'] == 8
    assert found['over_flexae']['flexae'] == 1.0 > found['over_flexae']['ae_gmm'] > 0.0
    assert found['checkpoint_bytes']['flexae'] > found['snapshot_bytes']['flexae'] > 0


def test_zero_iterations_report_sizes_of_methods(report, monkeypatch):
    monkeypatch.setattr(program, 'AUTOENCODERS', ('flexae',))
    found = report(subject='methods', dataset='synthetic_5d', iterations=0, batch_size=8)
    assert 'seconds' not in found and found['snapshot_bytes']['flexae'] > 0


def test_network_is_measured(report, monkeypatch, tmp_path):
    tf.saved_model.save(TinyInception(), str(tmp_path))
    monkeypatch.setattr(program, 'NETWORK_BATCH', 4)
    found = report(subject='network', inception_path=str(tmp_path), iterations=2)
    assert 0.0 < found['minimum'] <= found['images_per_second'] <= found['maximum']


def test_metrics_are_measured(report, monkeypatch):
    monkeypatch.setattr(program, 'EXAMPLES', 300)
    names = ('prd', 'precision_recall', 'ssim', 'codes')
    monkeypatch.setattr(program, 'METRICS', {name: METRICS[name] for name in names})
    found = report(subject='metrics')
    assert set(found['seconds']) == {'prd', 'precision_recall', 'ssim'}  # not metrics of codes
    assert found['peak_memory_gib'] > 0.0


@pytest.mark.parametrize('dataset', ['mnist', 'celeba', 'synthetic_2d', 'synthetic_5d'])
@pytest.mark.parametrize('method', AUTOENCODERS)
def test_training_flagfiles_configure_every_method_on_every_data_set(method, dataset):
    flags = [f'--flagfile={path}' for path in training_flagfiles(method, dataset)]
    config = from_arguments(TrainConfig, [*flags, '--width_multiplier=0.5'])
    assert (config.method, config.dataset) == (method, dataset)
    assert config.width_multiplier == 0.5


def test_training_flagfiles_of_an_outside_method_name_the_data_set_only():
    assert training_flagfiles('package.module:Class', 'mnist') == ['datasets/mnist.flags']
