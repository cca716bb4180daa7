"""Facts about TF-GAN's Inception network, and a guarded import of TF-GAN.

TF-GAN is the source of these constants. They are copied here because TF-GAN imports TensorFlow
Hub and TensorFlow Probability, which a network from a file does not need. A test compares them.
"""

import functools
import importlib.util
import sys
import types

HANDLE = 'https://tfhub.dev/tensorflow/tfgan/eval/inception/1'
IMAGE_SIZE = 299
VALUE_RANGE = (-1.0, 127 / 128)  # of the network's input: (x - 128) / 128
LOGITS = 'logits'
FINAL_POOL = 'pool_3'  # its Frechet distance is the FID


def handle() -> str:
    """Returns the handle of the network on the hub; our copy if TF-GAN cannot be imported."""
    try:
        return tfgan_eval().INCEPTION_TFHUB
    except Exception:  # packages that TF-GAN imports fail in many ways
        return HANDLE


@functools.cache
def tfgan_eval() -> types.ModuleType:
    """Returns TF-GAN's `eval` sub-package: handle, size and output names of Inception; metrics.

    TF-GAN 2.1 as a whole needs `tf.estimator`, which TensorFlow 2.16 removed. So `eval` is imported
    below two parent packages that exist in `sys.modules` without being executed. They are removed
    afterwards, so a later `import tensorflow_gan` behaves as without this function.

    Raises:
        ModuleNotFoundError: TF-GAN is not installed.
    """
    before = _pop_tfgan_modules()
    try:
        for name in ('tensorflow_gan', 'tensorflow_gan.python'):
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f'no {name}: pip install tensorflow-gan', name=name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
        return importlib.import_module('tensorflow_gan.python.eval')
    finally:
        _pop_tfgan_modules()
        sys.modules.update(before)


def _pop_tfgan_modules() -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.partition('.')[0] == 'tensorflow_gan']
    return {name: sys.modules.pop(name) for name in names}
