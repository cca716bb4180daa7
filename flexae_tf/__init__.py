"""FlexAE and its baselines: generative auto-encoders in TensorFlow 2.

import flexae_tf
config = flexae_tf.TrainConfig(dataset='digits', width_multiplier=0.125, training_steps=500)
dataset = flexae_tf.load_dataset(config)
config = flexae_tf.resolve(config, dataset.spec)
trainer = flexae_tf.Trainer(config, dataset)
trainer.train()
images = trainer.method.sample(16, seed=1).numpy()  # [16, 28, 28, 1] in [0, 1]
method = flexae_tf.load_run('runs/digits')  # a run of bin/train.py
"""

import importlib

__version__ = '0.1.0'

# Resolved on first use, so that importing the package does not import TensorFlow.
_PUBLIC = {
    'TrainConfig': ('flexae_tf.config', 'TrainConfig'),
    'load_dataset': ('flexae_tf.data', 'load'),
    'resolve': ('flexae_tf.methods', 'resolve'),
    'build_method': ('flexae_tf.methods', 'build_method'),
    'Trainer': ('flexae_tf.training.trainer', 'Trainer'),
    'load_run': ('flexae_tf.densities.densities', 'load_run'),
    'Sampler': ('flexae_tf.export', 'Sampler'),
}
__all__ = ['__version__', *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)
