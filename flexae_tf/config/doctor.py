"""Options of `bin/doctor.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, path_option, runtime_option
from flexae_tf.config.shared import (
    cache_dir_option,
    check_one_network,
    device_option,
    feature_network_option,
    inception_path_option,
)
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """Options of `bin/doctor.py`."""

    data_dir: str | None = path_option('Folder of tensorflow-datasets to check.')
    inception_path: str | None = inception_path_option()
    feature_network: str | None = feature_network_option()
    verify_inception: bool = runtime_option(
        False,
        'Print the golden record of the Inception network. Added to the package once, it '
        'identifies the network by its features.',
    )
    cache_dir: str | None = cache_dir_option()
    device: str = device_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_network(self.inception_path, self.feature_network)
        if self.verify_inception and self.feature_network:
            raise UsageError('--verify_inception: needs an Inception network. Leave one out.')
