"""Options of `bin/doctor.py`."""

from __future__ import annotations

import dataclasses

from flexae_tf.config.options import Options, path_option
from flexae_tf.config.shared import cache_dir_option, device_option, inception_path_option


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """Options of `bin/doctor.py`."""

    data_dir: str | None = path_option('Folder of tensorflow-datasets to check.')
    inception_path: str | None = inception_path_option()
    cache_dir: str | None = cache_dir_option()
    device: str = device_option()
