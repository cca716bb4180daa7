"""Options of a program as a frozen dataclass: absl flags, checks and `config.json` come from it.

Nothing here imports TensorFlow, so wrong flags are refused at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from flexae_tf.errors import UsageError


def option(
    default: Any,
    help_text: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    required: bool = False,
    identity: bool = True,
    path: bool = False,
) -> Any:
    """A dataclass field that knows how to be a flag.

    Args:
        default: the default; None means "decided by the data set", as the help text says.
        help_text: shown by `--help`.
        choices: the allowed strings.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        above: the number must be larger than this.
        required: whether None is refused.
        identity: whether the option is part of what a run is. An option that is not may differ
            when the run is resumed.
        path: whether it is a file or folder; `~` in it is the home folder, also where no shell has
            seen it.
    """
    metadata = dict(
        help=help_text,
        choices=choices,
        minimum=minimum,
        maximum=maximum,
        above=above,
        required=required,
        identity=identity,
        path=path,
    )
    return dataclasses.field(default=default, metadata=metadata)


def runtime_option(default: Any, help_text: str, **limits: Any) -> Any:
    """An option that says where or how a run happens, never what it computes."""
    return option(default, help_text, identity=False, **limits)


def path_option(help_text: str, *, required: bool = False) -> Any:
    """A file or folder: `where`, with `~` for the home folder; None when not given."""
    return runtime_option(None, help_text, required=required, path=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """DenseReshape of all option sets: checks itself when made.

    A whole number where a float is meant becomes one, as on a command line: the hash of an option
    set must not depend on who wrote it.

    Raises:
        UsageError: a value outside its limits; the message names flag, value and limits.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata['path'] and value:
                object.__setattr__(self, field.name, os.path.expanduser(value))
            elif field.type.startswith('float') and isinstance(value, int):
                object.__setattr__(self, field.name, float(value))
            _check(field, value)

    def identity(self) -> dict[str, Any]:
        """The options that make a run what it is."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.metadata['identity']
        }

    def identity_hash(self) -> str:
        """Twelve hexadecimal digits that differ when any identity option differs.

        Options at their defaults do not enter, so that a new option leaves old runs readable.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = {k: v for k, v in self.identity().items() if v != defaults[k]}
        text = json.dumps(changed, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(field: dataclasses.Field, value: Any) -> None:
    limits = field.metadata
    if value is None:
        if limits['required']:
            raise UsageError(f'--{field.name} is needed: {limits["help"]}')
        return
    if limits['choices'] and value not in limits['choices']:
        choices = ', '.join(limits['choices'])
        raise UsageError(f'--{field.name}={value}: choose one of {choices}')
    if limits['minimum'] is not None and not value >= limits['minimum']:
        raise UsageError(f'--{field.name}={value}: must be at least {limits["minimum"]}')
    if limits['maximum'] is not None and not value <= limits['maximum']:
        raise UsageError(f'--{field.name}={value}: must be at most {limits["maximum"]}')
    if limits['above'] is not None and not value > limits['above']:
        raise UsageError(f'--{field.name}={value}: must be above {limits["above"]}')


_DEFINE = {
    'int': flags.DEFINE_integer,
    'float': flags.DEFINE_float,
    'bool': flags.DEFINE_boolean,
    'str': flags.DEFINE_string,
}


def define_flags(options: type[Options], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each option of a dataclass."""
    for field in dataclasses.fields(options):
        define = _DEFINE[field.type.removesuffix(' | None')]
        text = field.metadata['help']
        if field.metadata['choices']:
            text += f' <{"|".join(field.metadata["choices"])}>'
        define(field.name, field.default, text, flag_values=flag_values)


def from_flags(options: type[Options], flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """The dataclass filled from parsed flags.

    Raises:
        UsageError: a value outside its limits.
    """
    return options(**{f.name: flag_values[f.name].value for f in dataclasses.fields(options)})


def from_arguments(options: type[Options], arguments: Sequence[str]) -> Any:
    """The dataclass filled from a command line, as the program that has these options reads it.

    Args:
        options: the dataclass.
        arguments: flags, `--flagfile` among them; its path is relative to the working directory.

    Raises:
        UsageError: an unknown flag, or a value outside its limits.
    """
    flag_values = flags.FlagValues()
    define_flags(options, flag_values)
    try:
        flag_values(['', *arguments])
    except flags.Error as error:
        raise UsageError(str(error)) from None
    return from_flags(options, flag_values)


def to_flagfile(config: Options) -> str:
    """The text of a file that gives the same options again with `--flagfile`."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None:
            lines.append(
                f'--{field.name}={str(value).lower() if value in (True, False) else value}'
            )
    return '\n'.join(lines) + '\n'
