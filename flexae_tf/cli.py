"""Command-line programs: one table, lazily imported, with one-line errors and exit codes.

Flags are checked before TensorFlow is imported. Slow imports are inside functions, because Python
shows the traceback of a Ctrl-C until `run` receives signals.

`python -m flexae_tf.cli PROGRAM --flags` runs a program like `bin/PROGRAM.py` and
`flexae-PROGRAM`.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from flexae_tf import shutdown, streams
from flexae_tf.errors import Interrupted, MissingDataError, UsageError, UserError, first_line
from flexae_tf.shutdown import GracefulShutdown


class Program(NamedTuple):
    """A row of the table of programs; `module:name` is relative to the package.

    Attributes:
        summary: first line of `--help`.
        config: dataclass of the options.
        main: function that runs the program.
        check: function from the options to the arguments of `main`, which refuses options without
            importing TensorFlow; None if `main` takes the options.
        prepare: function of the same arguments that is called before TensorFlow is imported.
        method_flags: whether a method from outside the package adds flags of its own.
        needs_tensorflow: whether TensorFlow is imported before `main` is.
    """

    summary: str
    config: str
    main: str
    check: str | None = None
    prepare: str | None = None
    method_flags: bool = False
    needs_tensorflow: bool = True


PROGRAMS = {
    'train': Program(
        'Trains a method on a data set. The same command resumes the run.',
        'config.train:TrainConfig',
        'training.trainer:train',
        check='training.workdir:check_request',
        prepare='training.compiled_programs:prepare',
        method_flags=True,
    ),
    'evaluate': Program(
        'Evaluates a trained run, or two sets of images.',
        'config.evaluate:EvaluateConfig',
        'evaluation.evaluate:evaluate',
    ),
    'compare': Program(
        'Compares the recorded scores of runs in a table for each protocol.',
        'config.compare:CompareConfig',
        'evaluation.compare:compare',
        needs_tensorflow=False,
    ),
    'fit': Program(
        'Fits a density to the codes of a trained run.',
        'config.fit:FitConfig',
        'densities.fit_program:fit',
    ),
    'sample': Program(
        'Samples from a run or an exported SavedModel.',
        'config.sample:SampleConfig',
        'sample:sample',
    ),
    'export': Program(
        'Exports a trained run as a SavedModel.', 'config.export:ExportConfig', 'export:export'
    ),
    'reproduce': Program(
        "Reproduces the paper's tables and figures, and selects open weights.",
        'config.reproduce:ReproduceConfig',
        'experiments.reproduce:reproduce',
        needs_tensorflow=False,
    ),
    'benchmark': Program(
        'Times trainings, variants of one, metrics or the Inception network.',
        'config.benchmark:BenchmarkConfig',
        'benchmark.program:benchmark',
        check='benchmark.variants:check_request',
        method_flags=True,
    ),
    'doctor': Program(
        'Reports device, packages, data sets and the Inception network.',
        'config.doctor:DoctorConfig',
        'doctor:doctor',
    ),
}

# Tables of the names that a flag accepts, by flag: names and lookup. No table imports
# TensorFlow.
TABLES = {
    'method': ('methods.table:AUTOENCODERS', 'methods.table:find'),
    'methods': ('methods.table:AUTOENCODERS', 'methods.table:find'),
    'dataset': ('data.catalog:DATASETS', 'data.catalog:find'),
    'metrics': ('metrics.table:METRICS', 'metrics.table:find'),
    'density': ('densities:DENSITIES', 'densities:check_name'),
}

HELP = {'--help', '-help', '-h', '--helpfull', '--helpshort'}


def run(name: str, arguments: Sequence[str]) -> None:
    """Runs a program; returns if it succeeds and exits otherwise.

    A `UserError`, an error of a file or a signal exits with its code and one line on standard
    error. Any other exception is a bug and shows its traceback.

    Args:
        name: key of `PROGRAMS`.
        arguments: command line without the program's name.
    """
    with GracefulShutdown(leave=name):
        _run(name, arguments)


def _run(name: str, arguments: Sequence[str]) -> None:
    try:
        if HELP.isdisjoint(arguments):
            call(name, arguments)
        else:
            print(help_text(name), end='')
    except Interrupted as error:
        shutdown.leave(name, error)
    except UserError as error:
        _fail(name, str(error), error.exit_code)
    except OSError as error:
        if not error.errno:
            raise
        action = 'Choose another path, or check its permissions and the disk.'
        message = f'{error.filename or "disk"}: {error.strerror}. {action}'
        _fail(name, message, MissingDataError.exit_code)
    except Exception as error:  # by name: an error before TensorFlow's import must not import it
        if type(error).__name__ != 'ResourceExhaustedError':
            raise
        cpu = ', or use --device=cpu' if 'GPU' in str(error) else ''
        message = (
            f'--device: a device or disk is full ({first_line(error)}). Free space on it{cpu}.'
        )
        _fail(name, message, UsageError.exit_code)


def call(name: str, arguments: Sequence[str]) -> None:
    """Runs a program and lets its errors through; arguments as for `run`.

    Raises:
        UserError: the program failed.
    """
    program = PROGRAMS[name]
    options = parse(name, arguments)
    _check_names(options)
    request = load(program.check)(options) if program.check else (options,)
    if program.prepare:
        load(program.prepare)(*request)
    if program.needs_tensorflow:
        load('environment:import_tensorflow')()
    main = load(program.main)
    shutdown.check('while it started')
    main(*request)


def parse(name: str, arguments: Sequence[str]) -> Any:
    """Returns the options of a program.

    Args:
        name: key of `PROGRAMS`.
        arguments: command line without the program's name.

    Raises:
        UsageError: an unknown flag or value.
    """
    from flexae_tf.config.options import from_arguments

    program = PROGRAMS[name]
    config_class = load('methods.table:config_class') if program.method_flags else None
    return from_arguments(load(program.config), arguments, config_class=config_class)


def load(path: str) -> Any:
    """Returns the object at `module:name`, relative to the package."""
    module, _, name = path.partition(':')
    return getattr(importlib.import_module(f'flexae_tf.{module}'), name)


def help_text(name: str) -> str:
    """Returns the text of `--help`: summary, flags with defaults, and the names in the tables."""
    import dataclasses
    import textwrap

    program = PROGRAMS[name]
    fields = dataclasses.fields(load(program.config))
    others = ''.join(f'{f.metadata["positional"]} ... ' for f in fields if f.metadata['positional'])
    usage = f'Usage: python bin/{name}.py {others}--flag=value ...'
    lines = [program.summary, '', usage, '']
    for field in fields:
        text = field.metadata['help']
        choices, table = field.metadata['choices'], TABLES.get(field.name)
        if choices:
            text += f' <{"|".join(choices)}>'
        if table:
            text += f' One of {", ".join(load(table[0]))}.'
        if field.default not in (None, ()):
            text += f' (default: {field.default})'
        flag = f'--[no]{field.name}' if field.type == 'bool' else f'--{field.name}'
        lines.append(f'  {field.metadata["positional"] or flag}: {text}')
    lines.append(
        '  --flagfile: File of flags, one per line; folders searched: working directory, '
        'folder of the file that includes it, flags of the package.'
    )
    wrap = textwrap.TextWrapper(width=100, subsequent_indent=' ' * 6, break_long_words=False)
    return '\n'.join(wrap.fill(line) for line in lines) + '\n'


def _check_names(options: Any) -> None:
    """Raises `UsageError` for names that are in no table, before TensorFlow is imported."""
    for flag, (_, find) in TABLES.items():
        value = getattr(options, flag, None)
        for name in value.split(',') if value else ():
            if '=' not in name:  # NAME=SAMPLES is a row of samples from files
                load(find)(name)


def _fail(name: str, message: str, exit_code: int) -> NoReturn:
    print(f'{name}: error: {" ".join(message.split())}', file=sys.stderr, flush=True)
    sys.exit(exit_code)


def _start(name: str, arguments: Sequence[str]) -> None:
    streams.make_robust()
    try:
        run(name, arguments)
    finally:
        shutdown.ignore_signals()


def _program(name: str) -> Callable[[], None]:
    def main() -> None:
        _start(name, sys.argv[1:])

    main.__doc__ = f'Runs `bin/{name}.py`, `flexae-{name}`.'
    return main


train, evaluate, compare, fit = map(_program, ('train', 'evaluate', 'compare', 'fit'))
sample, export, reproduce = map(_program, ('sample', 'export', 'reproduce'))
benchmark, doctor = map(_program, ('benchmark', 'doctor'))


def main() -> None:
    """Runs `python -m flexae_tf.cli PROGRAM --flags`."""
    name, *arguments = sys.argv[1:] or ['--help']
    if name in PROGRAMS:
        _start(name, arguments)
    elif name in HELP:
        lines = [f'  {name:10} {program.summary}' for name, program in PROGRAMS.items()]
        print('\n'.join(['Usage: python -m flexae_tf.cli PROGRAM --flag=value ...', '', *lines]))
    else:
        message = f'{name}: unknown program. Choose one of {", ".join(PROGRAMS)}.'
        _fail('flexae_tf', message, UsageError.exit_code)


if __name__ == '__main__':
    main()
