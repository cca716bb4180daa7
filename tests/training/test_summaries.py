import numpy as np
import pytest

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
