"""README.md's tables and pictures, made of the records that come with the package."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable

from flexae_tf.config import ReproduceConfig
from flexae_tf.experiments import artifacts, records
from flexae_tf.experiments.exhibits import rendering
from flexae_tf.experiments.exhibits.layout import Exhibit, Picture
from flexae_tf.experiments.planning import SYNTHETIC
from flexae_tf.experiments.records import Record

SCALE = 'small'
LAYER = 'mixed_7'  # of the network that stands in for TF-GAN's
PICTURES = pathlib.Path(artifacts.__file__).with_name('pictures')
_SECTION = re.compile(r'(<!-- recorded: (\w+) -->\n).*?(<!-- end of recorded -->)', re.DOTALL)


def fill(text: str, known: Iterable[Record] | None = None) -> str:
    """`text` with each table between `<!-- recorded: ARTIFACT -->` and `<!-- end of recorded -->`.

    Args:
        text: of the README.
        known: what the tables are made of; the records that come with the package when None.

    Raises:
        UsageError: records that cannot be compared, or no such artifact.
    """
    known = list(records.read(records.RECORDED) if known is None else known)

    def section(found: re.Match) -> str:
        tables = '\n'.join(table.markdown() for table in _exhibit(found[2], known).tables)
        return f'{found[1]}\n{tables}\n{found[3]}'

    return _SECTION.sub(section, text)


def pictures(text: str) -> list[Picture]:
    """The pictures that are made of records alone, of the artifacts that `text` has tables of."""
    known = records.read(records.RECORDED)
    names = [found[2] for found in _SECTION.finditer(text)]
    return [picture for name in names for picture in _exhibit(name, known).pictures]


def plan_of(name: str) -> ReproduceConfig:
    """How the README's runs of an artifact are planned."""
    config = ReproduceConfig(artifact=name, scale=SCALE, output='OUTPUT')
    if set(artifacts.datasets(config, name)) <= set(SYNTHETIC):
        return config
    return dataclasses.replace(config, feature_layer=LAYER, **rendering.PLACES)


def _exhibit(name: str, known: list[Record]) -> Exhibit:
    """What is made of the recorded runs of an artifact; runs that are recorded in part are not."""
    config = plan_of(name)
    planned = artifacts.plan(config)
    found = [r for of_run in records.recorded(planned, known).values() for r in of_run]
    folder = pathlib.Path(config.output_dir)  # where nothing is trained, nothing is drawn
    return rendering.exhibit(config, name, found, planned, folder)
