"""Scores as JSON lines."""

import concurrent.futures
import dataclasses
import errno
import fcntl
import json
import os
import time

import pytest

from flexae_tf.checked_files import append_jsonl, read_jsonl
from flexae_tf.config import EvaluateConfig
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation.score_log import (
    DEFAULT_NETWORK,
    ScoreLog,
    completed,
    requested_network,
    score_id,
)
from flexae_tf.metrics.protocol import Protocol

RAW = Protocol(dataset='digits', split='test', num=100)


def of_network(network):
    return dataclasses.replace(
        RAW, features='inception', layer='pool_3', network=network, resize='tf1_bilinear_299'
    )


def records(*stems, step=5, protocol=RAW):
    """Records of one metric."""
    identity = {'set': 'samples', 'step': step}
    return identity, [
        {
            **identity,
            **dict(metric=stem, stem=stem, value=1.0, fields=protocol.fields()),
            **dict(protocol=protocol.id, protocol_name='standard', selection=None),
            **dict(sd=None, estimator_sd=None, bootstrap_sd=None, repeats=1, density=None),
            'id': score_id(identity, stem),
        }
        for stem in stems
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'scores.jsonl'


def test_find_returns_complete_groups_only(path):
    identity, group = records('precision', 'recall')
    ScoreLog(path, request='a').add(group)
    assert [r['stem'] for r in ScoreLog(path, request='b').find(identity)] == [
        'precision',
        'recall',
    ]
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    assert ScoreLog(path, request='b').find(identity) == []


def test_find_ignores_other_identities_and_old_lines(path):
    identity, group = records('fd')
    path.write_text('{"kind": "gen", "value": 1.0}\n')
    log = ScoreLog(path, request='a')
    log.add(group)
    assert log.find({**identity, 'step': 6}) == [] and log.find(identity)


def test_completed_returns_scores_of_the_request(path):
    _, first = records('fd')
    _, second = records('kd', 'density')
    assert completed(path, 'a') is None
    log = ScoreLog(path, request='a')
    log.add(first)
    assert completed(path, 'a') is None
    log.complete(step=5, checkpoint='x', network=None, seconds=1.0)
    assert [r['stem'] for r in completed(path, 'a')] == ['fd']
    assert completed(path, 'a', 'x') and completed(path, 'a', 'y') is None
    later = ScoreLog(path, request='b')
    later.show(first[0])
    later.add(second)
    later.complete(step=5, checkpoint='x', network=None, seconds=1.0)
    assert [r['stem'] for r in completed(path, 'b')] == ['fd', 'kd', 'density']
    assert [r['request'] for r in completed(path, 'b')] == ['a', 'b', 'b']
    assert [r['stem'] for r in completed(path, 'a')] == ['fd']


def test_completed_needs_every_score(path):
    _, group = records('fd', 'kd')
    log = ScoreLog(path, request='a')
    log.add(group)
    log.complete(step=5, checkpoint='x', network=None, seconds=1.0)
    path.write_text(''.join(path.read_text().splitlines(keepends=True)[1:]))
    assert completed(path, 'a') is None


def test_completed_needs_the_requested_network(path):
    _, group = records('fd', protocol=of_network('aaaa'))
    ScoreLog(path, request='a').add(group)
    for network in ('aaaa', DEFAULT_NETWORK):
        log = ScoreLog(path, request='a')
        log.show(group[0])
        assert completed(path, 'a', network=network) is None
        log.complete(step=5, checkpoint='x', network=network, seconds=1.0)
        assert completed(path, 'a', 'x', network) == completed(path, 'a') != []
    assert completed(path, 'a', network='bbbb') is None


def test_completed_reads_the_network_of_older_lines_from_scores(path):
    _, group = records('fd', protocol=of_network('aaaa'))
    log = ScoreLog(path, request='a')
    log.add(group)
    log.complete(step=5, checkpoint='x', network=None, seconds=1.0)
    assert completed(path, 'a', network='aaaa') and completed(path, 'a', network=DEFAULT_NETWORK)
    assert completed(path, 'a', network='bbbb') is None


def test_requested_network_is_known_by_content(tmp_path):
    def request(**options):
        return requested_network(EvaluateConfig(workdir='x', cache_dir=str(tmp_path), **options))

    paths = [tmp_path / name for name in ('network', 'copy', 'other')]
    for path, content in zip(paths, (b'a', b'a', b'b'), strict=True):
        path.mkdir()
        (path / 'saved_model.pb').write_bytes(content)
    first, copy, other = (request(inception_path=str(path)) for path in paths)
    assert request(features='pixels') == DEFAULT_NETWORK
    assert first == copy != other and request() == DEFAULT_NETWORK
    (paths[0] / 'saved_model.pb').write_bytes(b'b')
    os.utime(paths[0] / 'saved_model.pb', ns=(1, 2**62))
    assert request(inception_path=str(paths[0])) == other
    declared = dict(name='means', image_size=8, value_range=[0, 1], resize='tf1_bilinear')
    (paths[1] / 'feature_network.json').write_text(json.dumps(declared))
    assert request(feature_network=str(paths[1])) not in (first, other)
    with pytest.raises(MissingDataError, match='--inception_path=.*nowhere'):
        request(inception_path=str(tmp_path / 'nowhere'))


def test_complete_writes_the_same_line_once(path):
    _, group = records('fd')
    log = ScoreLog(path, request='a')
    log.add(group)
    for seconds in (1.0, 2.0):
        log.complete(step=5, checkpoint='x', network=None, seconds=seconds)
        log = ScoreLog(path, request='a')
        log.show(group[0])
    assert sum('complete' in line for line in read_jsonl(path)) == 1


def test_also_write_to_receives_recorded_scores(path, tmp_path):
    _, group = records('fd')
    ScoreLog(path, request='a').add(group)
    log = ScoreLog(path, request='b', also_write_to=tmp_path / 'other.jsonl')
    log.show(read_jsonl(path)[0], note='; recorded before')
    assert read_jsonl(tmp_path / 'other.jsonl') == read_jsonl(path)


def test_path_must_hold_scores(tmp_path):
    with pytest.raises(UsageError, match='not a file of scores'):
        ScoreLog(tmp_path, request='a')


def test_score_id_depends_on_identity_and_stem():
    ids = {score_id(i, s) for i in ({'step': 1}, {'step': 2}, {}) for s in ('fd', 'kd')}
    assert len(ids) == 6 and all(len(id_) == 16 for id_ in ids)


def test_several_evaluations_write_each_score_once(path, tmp_path):
    """Three logs that were opened before any score was written, in threads."""
    also = tmp_path / 'other.jsonl'
    logs = [ScoreLog(path, request='a', also_write_to=also) for _ in range(3)]

    def write(log):
        for step in range(20):
            log.add(records('fd', 'kd', step=step)[1])
        log.complete(step=19, checkpoint='x', network=None, seconds=time.monotonic())

    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(write, logs))
    lines = read_jsonl(path)
    pairs = {(line['step'], line['stem']) for line in lines[:-1]}
    assert len(lines) == 41 and len(pairs) == 40 and len(read_jsonl(also)) == 40
    assert len(completed(path, 'a', 'x')) == 40


def test_add_prints_what_another_evaluation_recorded(path, capsys):
    logs = [ScoreLog(path, request='a') for _ in range(2)]
    for log, value in zip(logs, (1.0, 2.0), strict=True):
        _, group = records('fd')
        group[0]['value'] = value
        log.add(group)
    assert [line['value'] for line in read_jsonl(path)] == [1.0]
    assert capsys.readouterr().out.count('fd 1  (') == 2


def test_add_records_again_beside_lines_of_an_older_version(path):
    identity, group = records('fd')
    append_jsonl(path, group[0])  # without the number of scores of the metric
    log = ScoreLog(path, request='a')
    assert log.find(identity) == []
    log.add(group)
    assert len(ScoreLog(path, request='a').find(identity)) == 1


def test_lock_continues_with_a_warning_without_locks(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    log = ScoreLog(tmp_path / 'scores.jsonl', request='a')
    for step in (1, 2):
        log.add(records('fd', step=step)[1])
    assert len(read_jsonl(tmp_path / 'scores.jsonl')) == 2
    out = capsys.readouterr().out
    assert out.count('scores.jsonl: cannot be locked (No locks available)') == 1
