"""How a command-line program starts and ends: flags, one-line errors, exit codes."""

import os
import sys
from collections.abc import Callable

from absl import app, flags, logging

from flexae_tf import config
from flexae_tf.config.options import Options, define_flags, from_flags
from flexae_tf.errors import MissingDataError, UsageError, UserError


def run(main: Callable[[Options], None], options: type[Options]) -> None:
    """Parses the flags of `options`, calls `main` with them, and exits.

    Flags are checked before `main` imports TensorFlow. A `UserError` ends the program with its
    exit code and one line on standard error; any other exception is a bug and shows its traceback.
    """
    # TensorFlow's C++ side reports its start at length; its warnings and errors still show.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')
    # TensorFlow leaves oneDNN's convolutions off on processors without AVX-512, where they take
    # half the time of its own as well.
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
    # Whatever other work has in the environment or in keras.json: the methods are TensorFlow's.
    os.environ['KERAS_BACKEND'] = 'tensorflow'
    define_flags(options)
    for flag in flags.FLAGS.flags_by_module_dict()[define_flags.__module__]:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # what `--help` shows

    def checked_main(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow's Python side reports every save
        try:
            if len(argv) > 1:
                raise UsageError(f'{argv[1]}: not a flag; flags are written --name=value')
            main(from_flags(options))
        except UserError as error:
            _fail(str(error), error.exit_code)
        except PermissionError as error:
            _fail(
                f'{error.filename}: {error.strerror}; give another path, or mend that',
                MissingDataError.exit_code,
            )
        except Exception as error:  # by name: a wrong flag must not wait for TensorFlow
            if type(error).__name__ != 'ResourceExhaustedError':
                raise
            reason = str(error).partition('\n')[0]
            _fail(
                f'a device or a disk is full ({reason}): free it; instead of a GPU, --device=cpu',
                UsageError.exit_code,
            )

    app.run(checked_main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(str(error), UsageError.exit_code)


def _fail(message: str, exit_code: int) -> None:
    name = os.path.basename(sys.argv[0])
    print(f'{name}: error: {" ".join(message.split())}', file=sys.stderr, flush=True)
    sys.exit(exit_code)


def train() -> None:
    """`bin/train.py`, `flexae-train`."""

    def main(options: config.TrainConfig) -> None:
        from flexae_tf.training.workdir import check_request

        request = check_request(options)  # before the slow import of TensorFlow
        from flexae_tf.training import trainer

        trainer.train(*request)

    run(main, config.TrainConfig)


def evaluate() -> None:
    """`bin/evaluate.py`, `flexae-evaluate`."""

    def main(options: config.EvaluateConfig) -> None:
        from flexae_tf.evaluation import evaluate

        evaluate.evaluate(options)

    run(main, config.EvaluateConfig)


def sample() -> None:
    """`bin/sample.py`, `flexae-sample`."""

    def main(options: config.SampleConfig) -> None:
        from flexae_tf import export

        export.sample(options)

    run(main, config.SampleConfig)


def export() -> None:
    """`bin/export.py`, `flexae-export`."""

    def main(options: config.ExportConfig) -> None:
        from flexae_tf import export

        export.export(options)

    run(main, config.ExportConfig)


def fit() -> None:
    """`bin/fit.py`, `flexae-fit`."""

    def main(options: config.FitConfig) -> None:
        from flexae_tf.densities import fit_program

        fit_program.fit(options)

    run(main, config.FitConfig)


def benchmark() -> None:
    """`bin/benchmark.py`, `flexae-benchmark`."""

    def main(options: config.BenchmarkConfig) -> None:
        from flexae_tf import benchmark

        benchmark.benchmark(options)

    run(main, config.BenchmarkConfig)


def doctor() -> None:
    """`bin/doctor.py`, `flexae-doctor`."""

    def main(options: config.DoctorConfig) -> None:
        from flexae_tf import doctor

        doctor.doctor(options)

    run(main, config.DoctorConfig)


def reproduce() -> None:
    """`bin/reproduce.py`, `flexae-reproduce`."""

    def main(options: config.ReproduceConfig) -> None:
        if options.tune:
            from flexae_tf.experiments import tune

            tune.tune(options)
        else:
            from flexae_tf.experiments import reproduce

            reproduce.reproduce(options)

    run(main, config.ReproduceConfig)
