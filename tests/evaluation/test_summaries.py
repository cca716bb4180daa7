"""Scores in TensorBoard, as its own backends read them."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, SESSION_START_INFO_TAG
from tensorboard.util.grpc_util import ChannelCredsType
from tensorboard.util.tensor_util import make_ndarray

from flexae_tf.checked_files import append_jsonl
from flexae_tf.errors import UsageError
from flexae_tf.evaluation.summaries import ScoreSummaries
from flexae_tf.files import lock
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.training.workdir import Workdir
from tests.evaluation.conftest import scores_of

REQUEST = RequestContext()


def record(step, *, stem='fd', value=None, checkpoint=None, density=None, **fields):
    """Returns a line of `scores.jsonl`."""
    protocol = Protocol(dataset='digits', split='test', num=500, **fields)
    image_set = 'latents' if protocol.features == 'codes' else 'samples'
    return {
        'metric': protocol.name(image_set, stem),
        'stem': stem,
        'value': float(step if value is None else value),
        'set': image_set,
        'step': step,
        'checkpoint': checkpoint or f'digest{step}',
        'density': density,
        'sample_seed': 0,
        'repeats': 1,
        'selection': None,
        'protocol': protocol.id,
        'protocol_name': protocol.label,
        'fields': protocol.fields(),
        'id': f'{stem}{step}{density}',
    }


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path)


@pytest.fixture
def add(workdir):
    """`add(records)`: records scores as one evaluation does."""

    def evaluate(*records):
        summaries = ScoreSummaries(workdir)
        for each in records:
            append_jsonl(workdir.scores, each)
            summaries.update()

    return evaluate


def multiplexed(folder):
    """Returns {run: {tag: [(step, value)]}} as the EventMultiplexer of TensorBoard reads it."""
    multiplexer = EventMultiplexer(tensor_size_guidance={'scalars': 0})
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return points_of(multiplexer)


def points_of(multiplexer):
    """Returns {run: {tag: [(step, value)]}}."""
    return {
        run: {
            tag: [
                (event.step, float(make_ndarray(event.tensor_proto)))
                for event in multiplexer.Tensors(run, tag)
            ]
            for tag in multiplexer.PluginRunToTagToContent('scalars').get(run, ())
        }
        for run in multiplexer.Runs()
    }


class Server:
    """The data server of `tensorboard`, which reads again every second."""

    def __init__(self, folder):
        ingester = SubprocessServerDataIngester(
            get_server_binary(),
            str(folder),
            reload_interval=1,
            channel_creds_type=ChannelCredsType.LOCAL,
        )
        ingester.start()
        self._ingester = ingester
        self.provider = ingester.data_provider

    def points(self):
        options = dict(experiment_id='', plugin_name='scalars', downsample=1000)
        found = self.provider.read_scalars(REQUEST, **options)
        return {
            run: {tag: [(p.step, p.value) for p in points] for tag, points in tags.items()}
            for run, tags in found.items()
        }

    def wait_for_run(self, name):
        """Waits until the server has read a run."""
        for _ in range(100):
            if name in {run.run_name for run in self.provider.list_runs(REQUEST, experiment_id='')}:
                return
            time.sleep(0.1)
        raise AssertionError(name)

    def wait_for(self, expected):
        """Waits until the server shows these points."""
        for _ in range(100):
            if self.points() == expected:
                return
            time.sleep(0.1)
        assert self.points() == expected


def test_later_evaluations_of_earlier_steps_keep_all_points(workdir, add):
    server = Server(workdir.tensorboard)
    live = EventMultiplexer(tensor_size_guidance={'scalars': 0})
    steps = (40, 10, 25)
    run = f'scores/test_pixels_{record(1)["protocol"]}'
    for number, step in enumerate(steps):
        add(record(step), record(step, stem='kd', estimator='kernel_cubic_unbiased_100x1000'))
        seen = [(s, float(s)) for s in sorted(steps[: number + 1])]
        expected = {run: {'metrics/fd_pixels_500_gen': seen, 'metrics/kd_pixels_500_gen': seen}}
        live.AddRunsFromDirectory(str(workdir.tensorboard))
        live.Reload()
        assert points_of(live) == multiplexed(workdir.tensorboard) == expected
        server.wait_for(expected)
        Server(workdir.tensorboard).wait_for(expected)


def test_evaluations_at_the_same_time_keep_all_points(workdir):
    def evaluate(steps):
        summaries = ScoreSummaries(workdir)
        for step in steps:
            with open(workdir.scores, 'ab') as file:
                lock(file, wait=True)
                append_jsonl(workdir.scores, record(step))
            summaries.update()

    threads = [threading.Thread(target=evaluate, args=[range(n, 60, 6)]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, tags),) = multiplexed(workdir.tensorboard).items()
    assert tags == {'metrics/fd_pixels_500_gen': [(step, float(step)) for step in range(60)]}


def test_scores_that_an_earlier_process_did_not_show_are_shown(workdir, add):
    append_jsonl(workdir.scores, record(10))
    add(record(5))
    ((_, tags),) = multiplexed(workdir.tensorboard).items()
    assert tags == {'metrics/fd_pixels_500_gen': [(5, 5.0), (10, 10.0)]}


def test_one_name_under_two_protocols_is_two_curves(workdir, add):
    network = dict(features='inception', layer='pool_3', resize='tf1_bilinear_299')
    add(
        record(1, network='one', **network),
        record(1, value=2.0, network='two', **network),
        record(1, value=3.0, density='gaussian_mixture', network='one', **network),
        record(1, value=4.0, estimator='frechet_of_another_version', network='one', **network),
        record(1, value=5.0, network='one', minmax_normalize=True, **network),
    )
    found = multiplexed(workdir.tensorboard)
    values = [tags['metrics/fd_pool_3_500_gen'] for tags in found.values()]
    assert sorted(values) == [[(1, float(value))] for value in (1, 2, 3, 4, 5)]
    assert all(run.startswith('scores/test_pool_3_') for run in found)
    assert any('gaussian_mixture' in run for run in found)


def test_critic_is_one_curve_with_the_protocol_of_each_step(workdir, add):
    records = [
        record(
            step,
            stem='critic_distance',
            features='codes',
            checkpoint=f'{step:012x}',
            estimator=f'critic_of_{step:012x}',
        )
        for step in (3, 1, 2)
    ]
    add(*records)
    assert len({r['protocol'] for r in records}) == 3
    ((run, tags),) = multiplexed(workdir.tensorboard).items()
    assert tags == {'metrics/critic_distance_500_codes': [(1, 1.0), (2, 2.0), (3, 3.0)]}
    description = describe(workdir.tensorboard, run, 'metrics/critic_distance_500_codes')
    for each in records:
        assert f'{each["protocol"]} at step {each["step"]}' in description


def test_protocol_is_the_description(workdir, add):
    add(record(7))
    ((run, tags),) = multiplexed(workdir.tensorboard).items()
    description = describe(workdir.tensorboard, run, *tags)
    assert description.startswith(f'Protocol {record(7)["protocol"]} (standard): ')
    assert 'dataset=digits, split=test, num=500, features=pixels' in description


def describe(folder, run, tag):
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return multiplexer.SummaryMetadata(run, tag).summary_description


def test_curves_of_all_steps_are_images(workdir):
    for step in (2, 1):
        summaries = ScoreSummaries(workdir)
        score = record(step, stem='prd_recall', estimator='prd_k20_a1001_r10')
        angles = np.linspace(0.0, 1.0, 5)
        summaries.save_curve('prd_pixels_500_gen', step, score['id'], (angles, 1.0 - angles))
        append_jsonl(workdir.scores, score)
        summaries.update()
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(workdir.tensorboard))
    multiplexer.Reload()
    (run,) = multiplexer.PluginRunToTagToContent('images')
    events = multiplexer.Tensors(run, 'metrics/prd_pixels_500_gen')
    assert [event.step for event in events] == [1, 2]
    width, height, png = make_ndarray(events[0].tensor_proto)
    decoded = tf.io.decode_png(png)
    assert decoded.shape[:2] == (int(height), int(width)) == (400, 400)


def test_curve_of_a_layer_with_slashes_is_an_image(workdir):
    summaries = ScoreSummaries(workdir)
    score = record(1, stem='prd_recall', estimator='prd_k20_a1001_r10')
    angles = np.linspace(0.0, 1.0, 5)
    summaries.save_curve('prd_mixed_10/join_500_gen', 1, score['id'], (angles, angles))
    append_jsonl(workdir.scores, score)
    summaries.update()
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(workdir.tensorboard))
    multiplexer.Reload()
    (tags,) = multiplexer.PluginRunToTagToContent('images').values()
    assert list(tags) == ['metrics/prd_mixed_10-join_500_gen']


def test_folder_that_cannot_be_written_is_one_line(workdir, add):
    workdir.tensorboard.write_text('a file')
    with pytest.raises(UsageError, match=r'cannot be written \(.*\)\. Free disk space'):
        add(record(1))


def test_removed_workdir_is_not_made_again(workdir):
    shutil.rmtree(workdir.path)
    angles = np.linspace(0.0, 1.0, 5)
    with pytest.raises(UsageError, match=r'cannot be written \(No such file or directory\)'):
        ScoreSummaries(workdir).save_curve('prd_pixels_500_gen', 1, 'id', (angles, angles))
    assert not workdir.path.exists()


def test_odd_folder_names_are_names(tmp_path):
    for name in ('[a]*', 'b\\c', os.fsdecode(b'\xff')):
        workdir = Workdir(tmp_path / name)
        workdir.path.mkdir()
        append_jsonl(workdir.scores, record(1))
        ScoreSummaries(workdir).update()
        assert len(list((tmp_path / name / 'tb' / 'scores').iterdir())) == 1


def test_tensorboard_shows_all_steps_in_whatever_order_they_are_scored(run, score):
    folder, _ = run
    options = dict(num_examples=100, metrics='fd,prd,critic', sets='samples,latents')
    score(folder, **options)
    score(folder, checkpoint='all', **options)
    found = {}
    for sub_run in (folder / 'tb' / 'scores').glob('test_*'):
        events = EventAccumulator(str(sub_run))
        events.Reload()
        for tag in events.Tags()['tensors']:
            assert tag not in found
            found[tag] = [event.step for event in events.Tensors(tag)]
    names = {f'metrics/{record["metric"]}' for record in scores_of(folder)}
    assert found == dict.fromkeys(names | {'metrics/prd_vectors_100_gen'}, [5, 6, 9, 10])


def test_scores_are_metrics_of_the_run_in_hparams(run, score):
    folder, _ = run
    score(folder, num_examples=100, metrics='fd')
    # A run of TensorBoard that is named "." has no parts below it.
    for logdir, session in ((folder.parent, 'run/tb/scores'), (folder / 'tb', 'scores')):
        server = Server(logdir)
        server.wait_for_run(session)
        context, request = Context(TBContext(data_provider=server.provider)), RequestContext()
        found = context.hparams_metadata(request, '')
        assert list(found) == [session]
        assert set(found[session]) == {SESSION_START_INFO_TAG, SESSION_END_INFO_TAG}
        experiment = context.experiment_from_metadata(request, '', True, found, None)
        names = {info.name for info in experiment.hparam_infos}
        assert names >= {'method', 'dataset', 'seed', 'latent_dim', 'critic_learning_rate'}
        assert not names & {'workdir', 'log_every_steps', 'celeba_crop', 'kl_weight', 'mixture'}
        metrics = {info.name.tag for info in experiment.metric_infos}
        assert metrics == {f'metrics/fd_vectors_100_{suffix}' for suffix in ('rec', 'gen', 'floor')}
