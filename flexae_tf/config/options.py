"""Options of a program as a frozen dataclass: the source of absl flags, checks and `config.json`.

Nothing here imports TensorFlow, so wrong flags are refused at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from flexae_tf.config import renamed
from flexae_tf.errors import UsageError
from flexae_tf.files import local_path

# Limits of numbers without a maximum of their own: names of files have nine digits for a step, and
# a larger float overflows in float32 arithmetic.
MAXIMA = {'int': 999_999_999, 'float': 1e30}
MAX_NAME = 60  # characters of a flag

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# Flagfiles that come with the package: in a wheel inside it, in a clone beside it.
FLAGFILES = next(
    (p for p in (_PACKAGE / 'flags', _PACKAGE.parent / 'flags') if p.is_dir()), _PACKAGE / 'flags'
)


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
    positional: str | None = None,
) -> Any:
    """Returns a dataclass field that is also a flag.

    Args:
        default: default value. None: depends on other options, as the help text says.
        help_text: text in `--help`.
        choices: allowed values.
        minimum: smallest allowed number.
        maximum: largest allowed number; None for the maximum of its type in `MAXIMA`.
        above: exclusive lower limit.
        several: whether the value is a list, separated by commas; `choices` hold for each item.
        required: whether None is refused.
        identity: whether the option changes results, and thus the hash of a run. Other options
            may differ when a run is resumed.
        path: whether the value is a file or folder; see `files.local_path`.
        positional: name, in `--help`, of the arguments that are the value, a tuple; None for a
            flag.
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
        positional=positional,
    )
    return dataclasses.field(default=default, metadata=metadata)


def runtime_option(default: Any, help_text: str, **limits: Any) -> Any:
    """Returns an option that does not change results: where and how fast a program runs."""
    return option(default, help_text, identity=False, **limits)


def path_option(help_text: str, *, required: bool = False) -> Any:
    """Returns a runtime option that is a file or folder; None if not set."""
    return runtime_option(None, help_text, required=required, path=True)


def positional_option(name: str, help_text: str) -> Any:
    """Returns a runtime option that holds all arguments that are no flags: files or folders."""
    return runtime_option((), help_text, path=True, required=True, positional=name)


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
            name = field.metadata['positional']
            if name:
                paths = tuple(local_path(name, path) for path in value)
                object.__setattr__(self, field.name, paths)
            elif field.metadata['path'] and value is not None:
                object.__setattr__(self, field.name, local_path(f'--{field.name}', value))
            _check(field, value)
            if type_name(field) == 'float' and isinstance(value, int):
                object.__setattr__(self, field.name, float(value))

    def to_json(self) -> dict[str, Any]:
        """Returns all options, with absolute paths."""
        values = {field: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {f.name: _absolute(v) if f.metadata['path'] and v else v for f, v in values.items()}

    def identity(self) -> dict[str, Any]:
        """Returns the options that change results."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.metadata['identity']
        }

    def changed(self) -> dict[str, Any]:
        """Returns the options that change results and differ from their defaults."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {k: v for k, v in self.identity().items() if v != defaults[k]}

    def identity_hash(self) -> str:
        """Returns twelve hexadecimal digits that differ when any identity option differs.

        Options at their defaults do not enter, so that runs stay readable when an option is added.
        """
        text = json.dumps(self.changed(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(field: dataclasses.Field, value: Any) -> None:
    limits = field.metadata
    flag = f'--{field.name}={value}'
    if value is None or value == ():
        if limits['required']:
            name = limits['positional'] or f'--{field.name}'
            raise UsageError(f'{name}: needed. Set it: {limits["help"]}')
        return
    if value == '':
        raise UsageError(f'{flag}: empty. Give a value, or leave the flag out.')
    if limits['choices']:
        for item in value.split(',') if limits['several'] else [value]:
            if item not in limits['choices']:
                choices = ', '.join(limits['choices'])
                raise UsageError(f'--{field.name}={item}: unknown. Choose one of {choices}.')
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f'{flag}: not a finite number. Use one.')
    if limits['minimum'] is not None and not value >= limits['minimum']:
        raise UsageError(f'{flag}: too small. Use at least {limits["minimum"]}.')
    maximum = MAXIMA.get(type_name(field)) if limits['maximum'] is None else limits['maximum']
    if maximum is not None and not value <= maximum:
        raise UsageError(f'{flag}: too large. Use at most {maximum}.')
    if limits['above'] is not None and not value > limits['above']:
        raise UsageError(f'{flag}: too small. Use a value above {limits["above"]}.')


_DEFINE = {
    'int': flags.DEFINE_integer,
    'float': flags.DEFINE_float,
    'bool': flags.DEFINE_boolean,
    'str': flags.DEFINE_string,
}
_JSON_TYPES = {'int': int, 'float': int | float, 'bool': bool, 'str': str}
_NOUNS = {'int': 'an integer', 'float': 'a number', 'bool': 'true or false', 'str': 'a text'}


def type_name(field: dataclasses.Field) -> str:
    """Returns 'int', 'float', 'bool' or 'str': the type of an option without `| None`."""
    annotation = field.type
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return name.removesuffix(' | None')


def json_schema(options: type[Options]) -> dict[str, Any]:
    """Returns the schema of `Options.to_json`; an earlier version may lack some options."""
    return {
        f'{field.name}?': _JSON_TYPES[type_name(field)]
        | (bool | None if field.name in renamed.BOOLEANS else None)
        for field in dataclasses.fields(options)
    }


def define_flags(options: type[Options], flag_values: flags.FlagValues) -> None:
    """Defines one absl flag for each option of a dataclass that is not positional."""
    for field in dataclasses.fields(options):
        if field.metadata['positional']:
            continue
        define = _DEFINE[type_name(field)]
        define(field.name, field.default, field.metadata['help'], flag_values=flag_values)


def from_arguments(
    options: type[Options],
    arguments: Sequence[str],
    *,
    config_class: Callable[[str], type[Options]] | None = None,
) -> Any:
    """Returns the options that a command line gives.

    Args:
        options: dataclass of the program's options.
        arguments: flags, `--flagfile` included, and values of a positional option. If a flag is
            repeated, the last value wins.
        config_class: maps the value of `--method` to a dataclass whose options are added to
            `options`; None for a program whose flags do not depend on the method.

    Raises:
        UsageError: an unknown flag or flagfile, or a value outside its limits.
    """
    arguments = expand_flagfiles(arguments)
    if config_class:
        method = _parse(options, arguments, known_only=True)[0]['method'].value
        options = _combined(options, config_class(method))
    renamed.check(arguments, [field.name for field in dataclasses.fields(options)])
    flag_values, others = _parse(options, arguments)
    values = {}
    for field in dataclasses.fields(options):
        if field.metadata['positional']:
            values[field.name], others = tuple(others), []
        else:
            value = flag_values[field.name].value
            is_path = field.metadata['path'] and value
            values[field.name] = expand_variables(f'--{field.name}', value) if is_path else value
    if others:
        raise UsageError(f'{others[0]}: not a flag. Write flags as --name=value.')
    return options(**values)


@functools.cache
def _combined(program: type[Options], method: type[Options]) -> type[Options]:
    """Returns a class with the options of both; defaults come from the method."""
    if issubclass(program, method):
        return program
    if issubclass(method, program):
        return method
    combined = type(program.__name__, (method, program), {'__doc__': program.__doc__})
    return dataclasses.dataclass(frozen=True, kw_only=True)(combined)


def expand_variables(flag: str, value: str) -> str:
    """Returns a path with the values of its environment variables, `$NAME` or `${NAME}`.

    Shells do this on a command line, but not in flagfiles. `$$` is a dollar sign.

    Raises:
        UsageError: a variable is not set, or empty; `flag` and the variable are named.
    """

    def replace(match: re.Match) -> str:
        name = match[1] or match[2]
        if name and not os.environ.get(name):
            raise UsageError(
                f'{flag}={value}: the variable {name} is not set. Set it; for a dollar sign, '
                'write $$.'
            )
        return os.environ[name] if name else '$'

    return re.sub(r'\$(?:\$|([A-Za-z_]\w*)|\{([^{}]+)\})', replace, value)


def _parse(
    options: type[Options], arguments: Sequence[str], *, known_only: bool = False
) -> tuple[flags.FlagValues, list[str]]:
    """Returns flags, and the arguments that are no flags."""
    for name in (argument.partition('=')[0] for argument in arguments):
        if name.startswith('-') and len(name) > MAX_NAME:  # absl's search for a close one recurses
            raise UsageError(f'{name[:MAX_NAME]}...: unknown flag. See --help.')
    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow other arguments
    define_flags(options, values)
    try:
        _, *others = values(['', *arguments], known_only=known_only)
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(values), 1)
        action = f'Did you mean --{close[0]}?' if close else 'See --help.'
        raise UsageError(f'--{error.flagname}: unknown flag. {action}') from None
    except flags.IllegalFlagValueError as error:
        flag = str(error).removeprefix('flag ').partition(': ')[0]
        name = flag.lstrip('-').partition('=')[0]
        noun = _NOUNS[next(type_name(f) for f in dataclasses.fields(options) if f.name == name)]
        raise UsageError(f'{flag}: invalid value. Use {noun}.') from None
    except ValueError as error:  # of absl, for --noNAME=VALUE
        flag = str(error).partition('=')[0]
        raise UsageError(f'{flag}: takes no value. Give the flag without one.') from None
    except flags.Error as error:
        flag = str(error).rpartition(' ')[2]
        raise UsageError(f'{flag}: no value. Use {flag}=VALUE.') from None
    return values, others


def find_flagfile(name: str, folder: pathlib.Path | None = None) -> pathlib.Path | None:
    """Returns the path of a flagfile; None if there is no such file.

    Args:
        name: value of `--flagfile`. A relative path is searched in the working directory, in
            `folder`, and among the flagfiles of the package, with or without a leading `flags/`.
        folder: folder of the flagfile that includes this one; None on a command line.
    """
    path = pathlib.Path(name)
    folders = [pathlib.Path(), *([folder] if folder else []), FLAGFILES, FLAGFILES.parent]
    return next((parent / path for parent in folders if (parent / path).is_file()), None)


def expand_flagfiles(arguments: Sequence[str], including: Sequence[pathlib.Path] = ()) -> list[str]:
    """Returns the arguments with the flags of every flagfile in place of its `--flagfile`.

    Args:
        arguments: flags. In a flagfile, blank lines and lines that begin with # or // are skipped,
            and `$FLAGFILE_DIR` is the folder of the flagfile.
        including: the flagfiles that are being read, outermost first.

    Raises:
        UsageError: a flagfile is missing, unreadable, or includes itself.
    """
    expanded, remaining = [], iter(arguments)
    for argument in remaining:
        flag, equals, name = argument.partition('=')
        if argument == '--':
            expanded += [argument, *remaining]
        elif flag not in ('--flagfile', '-flagfile'):
            expanded.append(argument)
        else:
            name = name if equals else next(remaining, '')
            file = local_path('--flagfile', expand_variables('--flagfile', name))
            path = find_flagfile(file, including[-1].parent if including else None)
            if path is None:
                raise UsageError(
                    f'--flagfile={name}: no such file in the working directory or in {FLAGFILES}. '
                    'Check the path.'
                )
            if any(path.samefile(other) for other in including):
                raise UsageError(f'--flagfile={name}: includes itself. Remove that line.')
            expanded += expand_flagfiles(_read_flagfile(name, path), (*including, path))
    return expanded


def _read_flagfile(name: str, path: pathlib.Path) -> list[str]:
    """Returns the flags of a flagfile; names of folders in it need not be UTF-8."""
    try:
        text = path.read_bytes().decode('utf-8-sig', 'surrogateescape')
    except OSError as error:
        raise UsageError(f'--flagfile={name}: unreadable ({error.strerror}). Check it.') from None
    if '\0' in text:
        raise UsageError(f'--flagfile={name}: not a text in UTF-8. Check it.')
    folder = local_path('--flagfile', path.parent).replace('$', '$$')
    text = re.sub(r'\$(FLAGFILE_DIR\b|\{FLAGFILE_DIR\})', lambda _: folder, text)
    lines = [line.strip() for line in text.split('\n')]
    return [line for line in lines if line and not line.startswith(('#', '//'))]


def path_flag(name: str, path: str | os.PathLike) -> str:
    """Returns the flag that sets a path option, with an absolute path."""
    return f'--{name}={_absolute(path)}'.replace('$', '$$')


def to_flag(field: dataclasses.Field, value: Any) -> str:
    """Returns the flag that sets an option to a value, with an absolute path."""
    if field.metadata['path']:
        return path_flag(field.name, value)
    return f'--{field.name}={str(value).lower() if isinstance(value, bool) else value}'


def to_flagfile(config: Options, *, skip: Sequence[str] = ()) -> str:
    """Returns the text of a flagfile that sets the same options, except those to skip.

    Paths are absolute.
    """
    values = {field: getattr(config, field.name) for field in dataclasses.fields(config)}
    given = [(f, v) for f, v in values.items() if v is not None and f.name not in skip]
    return ''.join(f'{to_flag(field, value)}\n' for field, value in given)


def _absolute(path: str | os.PathLike) -> str:
    return str(pathlib.Path(path).absolute())
