"""Old names of flags and of their values, refused with the new name."""

import itertools
from collections.abc import Sequence
from typing import Any

from flexae_tf.errors import UsageError

# Old name of a flag -> new name, or new names of which a program has one.
FLAGS = {
    'snapshot_steps': ('snapshot_every_steps',),
    'generator': ('generator_capacity',),
    'kinds': ('sets',),
    'real_statistics': ('reference_statistics',),
    'foreign_statistics': ('allow_unverified_statistics',),
    'stretch': ('minmax_normalize',),
    'quantisation': ('quantization',),
    'output': ('output_file', 'output_dir'),
    'record': ('save_results',),
    'recorded': ('use_saved_results',),
    'list': ('dry_run',),
    'options': ('grid',),
    'tuned_options': ('grid',),
    'ex_post': ('density',),
    'ex_post_steps': ('density_steps',),
}
VALUES = {
    'metrics': {'kd': 'kid', 'improved': 'precision_recall', 'density': 'density_coverage'},
    'sets': {'rec': 'reconstructions', 'gen': 'samples', 'floor': 'train', 'codes': 'latents'},
    'generator_capacity': {f'capacity_{row}': str(row) for row in range(1, 7)},
    'jit_compile': {'true': 'on', 'True': 'on', 'false': 'off', 'False': 'off'},
}
# Options that are true or false in config.json of earlier versions.
BOOLEANS = {'jit_compile'}
# Flags that moved to another program.
MOVED = {'density_steps': 'bin/fit.py'}


def update_config(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a config.json with the values of this version."""
    old = {name for name in BOOLEANS if isinstance(config.get(name), bool)}
    return config | {name: 'on' if config[name] else 'off' for name in old}


def check(arguments: Sequence[str], known: Sequence[str]) -> None:
    """Raises `UsageError` for an old name of a flag or value; the message has the new flag.

    Args:
        arguments: flags of a command line, with flagfiles expanded.
        known: names of the flags of the program.
    """
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=''):
        flag, equals, value = argument.partition('=')
        old = flag.lstrip('-')
        if not flag.startswith('-') or not old:
            continue
        if old not in (*known, *FLAGS) and old.removeprefix('no') in FLAGS:
            old = old.removeprefix('no')
        new = [old] if old in known else FLAGS.get(old, [old])
        new = next((name for name in new if name in known), new[0])
        if not equals and new in VALUES and not following.startswith('-'):  # --metrics kd
            argument, equals, value = f'{argument} {following}', ' ', following
        renamed = VALUES.get(new, {})
        new_value = ','.join(renamed.get(item, item) for item in value.split(','))
        replacement = f'{flag.replace(old, new)}{equals}{new_value}'
        if new not in known:
            if new in MOVED:
                raise UsageError(f'{argument}: moved. Use {MOVED[new]} {replacement}.')
        elif replacement != argument:
            raise UsageError(f'{argument}: renamed. Use {replacement}.')
