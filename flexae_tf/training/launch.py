"""The training program. What can be checked without TensorFlow is, before its slow import."""

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.errors import UsageError
from flexae_tf.methods import resolve
from flexae_tf.training.workdir import Workdir


def train(config: TrainConfig) -> None:
    """Checks, loads, trains; with `--dry_run` only says what would be run.

    Raises:
        UserError: whatever the user can mend.
    """
    if not config.workdir and not config.dry_run:
        raise UsageError('--workdir=DIR is needed: the folder where the run is kept')
    spec = data.describe(config)
    config = resolve(config, spec)
    if config.workdir:
        Workdir(config.workdir).check(config)

    from flexae_tf.training import distribution, dry_run, trainer

    print(distribution.choose_devices(config.device), flush=True)
    if config.dry_run:
        dry_run.show(config, spec)
        return
    replicas = distribution.choose_strategy().num_replicas_in_sync
    distribution.check_shares(config.batch_size, replicas, jit_compile=config.jit_compile)
    trainer.Trainer(config, data.load(config)).train()
