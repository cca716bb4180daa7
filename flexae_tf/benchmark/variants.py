"""Variants of `--compare`: their flags.

Importing this module does not import TensorFlow, so wrong flags are refused at once.
"""

import dataclasses
import shlex

from flexae_tf.config import BenchmarkConfig
from flexae_tf.config.options import from_arguments, to_flag
from flexae_tf.errors import UsageError
from flexae_tf.methods.table import config_class

# Options of the comparison, which all variants share.
SHARED = ('subject', 'compare', 'json', 'iterations')


def check_request(config: BenchmarkConfig) -> tuple[BenchmarkConfig]:
    """Returns the arguments of the program: the configuration, whose variants are checked.

    Raises:
        UsageError: as `variants`.
    """
    variants(config)
    return (config,)


def variants(config: BenchmarkConfig) -> list[tuple[str, list[str]]]:
    """Returns names and complete flags of the variants of `config.compare`, without `SHARED`.

    Raises:
        UsageError: flags of a variant that no training accepts, or an option of the comparison.
    """
    # Without defaults: another method may not have the options of this one.
    values = {f: getattr(config, f.name) for f in dataclasses.fields(config)}
    common = [to_flag(f, v) for f, v in values.items() if f.name not in SHARED and v != f.default]
    found = []
    for text in config.compare.split(';') if config.compare else ():
        try:
            flags = shlex.split(text)
        except ValueError as error:
            raise UsageError(f'--compare={text}: {error}. Close the quotation.') from None
        variant = from_arguments(BenchmarkConfig, [*common, *flags], config_class=config_class)
        defaults = {f.name: f.default for f in dataclasses.fields(variant)}
        for name in SHARED:
            if getattr(variant, name) != defaults[name]:
                raise UsageError(
                    f'--compare={text}: --{name} is for all variants. Give it beside --compare.'
                )
        found.append((text.strip() or 'unchanged', [*common, *flags]))
    return found
