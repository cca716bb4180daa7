"""The programs. Each checks its flags, then imports what needs TensorFlow and makes one call."""

from flexae_tf import config
from flexae_tf.program import run


def train() -> None:
    """`bin/train.py`, `flexae-train`."""

    def main(options: config.TrainConfig) -> None:
        from flexae_tf.training import launch

        launch.train(options)

    run(main, config.TrainConfig)


def evaluate() -> None:
    """`bin/evaluate.py`, `flexae-evaluate`."""

    def main(options: config.EvaluateConfig) -> None:
        from flexae_tf.metrics import evaluate

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
