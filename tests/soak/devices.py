"""Trains on a number of logical CPU devices and stores all variables.

The epsilon of the optimizers is 1 here. At its usual size, Adam divides a gradient by its own
magnitude, so it turns the rounding error of a gradient near 0 into a step of full length. With 1 a
step is proportional to the gradient, and results of different numbers of devices can be compared.

Usage: python -m tests.soak.devices NUMBER FILE [flags of bin/train.py]
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.methods.resolve import resolve, train_config
from flexae_tf.training.trainer import Trainer


def main(number: int, path: str, flags: list[str]) -> None:
    """Trains on `number` devices; writes the variables to an .npz file."""
    cpu = tf.config.list_physical_devices('CPU')[0]
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(number)]
    tf.config.set_logical_device_configuration(cpu, devices)
    names = [device.name for device in tf.config.list_logical_devices('CPU')]
    strategy = tf.distribute.MirroredStrategy(names) if number > 1 else None
    config = train_config(flags)
    dataset = data.load(config)
    trainer = Trainer(resolve(config, dataset.spec), dataset, strategy=strategy)
    method = trainer.method
    for optimizer in vars(method).values():
        if isinstance(optimizer, keras.optimizers.Optimizer):
            optimizer.epsilon = 1.0
    trainer.train()
    np.savez(path, **{v.path.replace('/', '.'): v.numpy() for v in method.state})


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
