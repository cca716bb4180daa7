import time

import pytest
import tensorflow as tf

from flexae_tf.training import throughput
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.throughput import Throughput, eta, report_duration


def test_throughput_measures_a_lap(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throughput.time, 'monotonic', lambda: now[0])
    measured = Throughput(10, batch_size=8)
    measured.flop = 3e12
    now[0] = 2.0
    lap = measured.lap(30)
    assert lap['perf/steps_per_sec'] == 10.0
    assert lap['perf/images_per_sec'] == 80.0
    assert lap['perf/tflops'] == 30.0
    now[0] = 4.0
    assert measured.lap(34)['perf/steps_per_sec'] == 2.0


def test_report_duration_reports_while_the_work_takes_place(monkeypatch):
    monkeypatch.setattr(throughput, 'REPORT_SECONDS', 0.1)
    reported = []
    with report_duration('compiling', reported.append):
        time.sleep(0.25)
        during = list(reported)
    assert during[0] == 'compiling' and during[1] == 'compiling: 0 s'
    assert len(reported) == len(during) + 1
    time.sleep(0.15)
    assert len(reported) == len(during) + 1


def test_report_duration_shows_no_traceback_of_a_full_disk(monkeypatch, capfd):
    monkeypatch.setattr(throughput, 'REPORT_SECONDS', 0.01)

    def message(text):
        if ': ' in text:
            raise OSError('full')

    with pytest.raises(OSError, match='full'), report_duration('compiling', message):
        time.sleep(0.1)
    assert not capfd.readouterr().err


@pytest.mark.parametrize('steps, text', [(0, '0:00:00'), (65, '0:01:05'), (36061, '10:01:01')])
def test_eta_is_hours_minutes_and_seconds(steps, text):
    assert eta(steps, 1.0) == text


def test_graph_flop_counts_products_in_called_functions():
    @tf.function
    def product(a, b):
        return a @ b

    @tf.function
    def outer(a, b):
        return product(a, b)

    shapes = [tf.TensorSpec([2, 3]), tf.TensorSpec([3, 4])]
    assert graph_flop(outer.get_concrete_function(*shapes).graph) == 2 * 2 * 3 * 4
