"""Objects from outside the package, given to a flag as `package.module:NAME`."""

import importlib
from typing import Any

from flexae_tf.environment import import_tensorflow
from flexae_tf.errors import UsageError


def import_object(name: str, *, flag: str) -> Any:
    """Imports the object that `package.module:NAME` refers to.

    Args:
        name: value of the flag.
        flag: flag with its dashes, for error messages.

    Returns:
        The object.

    Raises:
        UsageError: the module cannot be imported or has no such object.
    """
    module, _, attribute = name.partition(':')
    if not module.startswith('flexae_tf.'):
        import_tensorflow()  # quietly, before the module does
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f'{flag}={name}: cannot be imported ({error}). Give package.module:NAME, with the '
            'folder of the package on PYTHONPATH.'
        ) from error
