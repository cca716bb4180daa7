"""Two processes that train together equal two devices of one process."""

import numpy as np
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.methods import resolve
from flexae_tf.training.trainer import Trainer
from tests.training import workers


def tensors(run, step):
    """Returns the variables of a checkpoint by name."""
    reader = tf.train.load_checkpoint(str(run / 'checkpoints' / f'ckpt-{step:09d}'))
    names = [name for name in reader.get_variable_to_shape_map() if 'OBJECT_GRAPH' not in name]
    return {name: reader.get_tensor(name) for name in names}


def test_two_processes_equal_two_devices(synthetic, mirrored, tmp_path):
    started = workers.start(tmp_path / 'processes', flags=['--training_steps=5'])
    flags = [*workers.FLAGS, '--training_steps=5', f'--workdir={tmp_path / "devices"}']
    config = from_arguments(TrainConfig, flags)
    from flexae_tf import data

    Trainer(resolve(config, synthetic.spec), data.load(config), strategy=mirrored(2)).train()
    codes, outputs = workers.finish(started)
    assert codes == [0, 0], outputs
    assert 'step 5/5' in outputs[0] and 'step' not in outputs[1]  # the chief speaks
    a, b = (tensors(tmp_path / name, 5) for name in ('processes', 'devices'))
    assert a.keys() == b.keys() and len(a) > 40
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
