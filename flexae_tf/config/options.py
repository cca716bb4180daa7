"""Options of a program as a frozen dataclass: the source of absl flags, checks and `config.json`.

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
    several: bool = False,
    required: bool = False,
    identity: bool = True,
    path: bool = False,
) -> Any:
    """Returns a dataclass field that is also a flag.

    Args:
        default: default value. None: depends on other options, as the help text says.
        help_text: text in `--help`.
        choices: allowed values.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        above: exclusive lower limit.
        several: whether the value is a list, separated by commas; `choices` hold for each item.
        required: whether None is refused.
        identity: whether the option changes results, and thus the hash of a run. Other options
            may differ when a run is resumed.
        path: whether the value is a file or folder. A leading `~` becomes the home folder.
    """
    metadata = dict(
        help=help_text,
        choices=choices,
        minimum=minimum,
        maximum=maximum,
        above=above,
        several=several,
        required=required,
        identity=identity,
        path=path,
    )
    return dataclasses.field(default=default, metadata=metadata)


def runtime_option(default: Any, help_text: str, **limits: Any) -> Any:
    """Returns an option that does not change results: where and how fast a program runs."""
    return option(default, help_text, identity=False, **limits)


def path_option(help_text: str, *, required: bool = False) -> Any:
    """Returns a runtime option that is a file or folder; None if not set."""
    return runtime_option(None, help_text, required=required, path=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all option sets; values are checked in the constructor.

    An int given for a float option becomes a float, so that the hash of an option set is the same
    from Python and from flags.

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
        """Returns the options that change results."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.metadata['identity']
        }

    def identity_hash(self) -> str:
        """Returns twelve hexadecimal digits that differ when any identity option differs.

        Options at their defaults do not enter, so that runs stay readable when an option is added.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = {k: v for k, v in self.identity().items() if v != defaults[k]}
        text = json.dumps(changed, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(field: dataclasses.Field, value: Any) -> None:
    limits = field.metadata
    flag = f'--{field.name}={value}'
    if value is None:
        if limits['required']:
            raise UsageError(f'--{field.name}: needed. Set it: {limits["help"]}')
        return
    if limits['choices']:
        for item in value.split(',') if limits['several'] else [value]:
            if item not in limits['choices']:
                choices = ', '.join(limits['choices'])
                raise UsageError(f'--{field.name}={item}: unknown. Choose one of {choices}.')
    if limits['minimum'] is not None and not value >= limits['minimum']:
        raise UsageError(f'{flag}: too small. Use at least {limits["minimum"]}.')
    if limits['maximum'] is not None and not value <= limits['maximum']:
        raise UsageError(f'{flag}: too large. Use at most {limits["maximum"]}.')
    if limits['above'] is not None and not value > limits['above']:
        raise UsageError(f'{flag}: too small. Use a value above {limits["above"]}.')


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
