import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.training.numerics import NonFiniteValues
from flexae_tf.training.run_log import PrintLog
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.trainer import Trainer


def test_summaries_use_validation_examples(config, synthetic):
    method = Trainer(config(), synthetic).method
    found, x = Summaries(method, synthetic, PrintLog()).sample(1), synthetic.validation.x
    z, x_hat = method.encode(x).numpy(), method.reconstruct(x).numpy()
    squared_error = np.mean(np.sum((x - x_hat) ** 2, axis=1))
    assert found['validation/ae'] == pytest.approx(squared_error, rel=1e-4)
    assert found['latent/z_norm'] == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ('function', 'output', 'name'),
    [
        ('encode', [np.nan, 0.0], 'latent/z'),
        ('decode', [np.inf] * 128, 'reconstructions'),
        ('decode', [1e30] * 128, 'validation/ae'),  # finite, but its square is not
    ],
)
def test_summaries_refuse_values_that_are_not_finite(
    config, synthetic, monkeypatch, function, output, name
):
    method = Trainer(config(), synthetic).method
    monkeypatch.setattr(method, function, lambda x: tf.tile([output], [tf.shape(x)[0], 1]))
    with pytest.raises(NonFiniteValues) as error:
        Summaries(method, synthetic, PrintLog()).sample(1)
    assert error.value.names == [name]


def test_summaries_refuse_distances_of_images_that_are_not_finite(config, synthetic, monkeypatch):
    method = Trainer(config(), synthetic).method
    monkeypatch.setattr(method, 'decode', lambda z: tf.tile([[np.nan] * 128], [tf.shape(z)[0], 1]))
    with pytest.raises(NonFiniteValues, match='^reconstructions$'):
        Summaries(method, synthetic, PrintLog()).evaluate()
