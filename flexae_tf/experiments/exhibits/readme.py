"""The tables of README.md, filled from the records that come with the package."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from flexae_tf.config import ReproduceConfig
from flexae_tf.experiments import artifacts, runs
from flexae_tf.experiments.exhibits import figures, rendering
from flexae_tf.experiments.exhibits.layout import Exhibit
from flexae_tf.experiments.planning import SYNTHETIC
from flexae_tf.experiments.records import RECORDED, read
from flexae_tf.training.workdir import write_text

SCALE = 'small'
PICTURES = pathlib.Path(artifacts.__file__).with_name('pictures')
LAYER = 'mixed_7'  # of the network that stands in for TF-GAN's
_TABLE = re.compile(r'(<!-- recorded: (\w+) -->\n).*?(<!-- end of recorded -->)', re.DOTALL)


def update(exhibits: Sequence[Exhibit]) -> None:
    """Fills the README of the clone anew, and keeps the pictures of exhibits made of scores."""
    path = runs.ROOT / 'README.md'
    if not path.is_file():
        return  # an installed package has none
    for shown in exhibits:
        if shown.name in (*figures.EXHIBITS, 'methods'):
            for picture in shown.pictures:
                (PICTURES / f'{picture.name}.png').write_bytes(picture.png)
    write_text(path, fill(path.read_text()))


def fill(text: str) -> str:
    """`text` with each table between `<!-- recorded: ARTIFACT -->` and `<!-- end of recorded -->`.

    Raises:
        UsageError: records that cannot be compared, or no such artifact.
    """
    return _TABLE.sub(lambda found: f'{found[1]}\n{_tables(found[2])}\n{found[3]}', text)


def _tables(name: str) -> str:
    """The tables of an artifact as Markdown."""
    config = ReproduceConfig(artifact=name, scale=SCALE, output='OUTPUT')
    if not set(artifacts.datasets(config, name)) <= set(SYNTHETIC):
        config = dataclasses.replace(config, feature_layer=LAYER)
    planned = {run.name for run in artifacts.plan(config)}
    found = [record for record in read(RECORDED / f'{SCALE}.jsonl') if record.run in planned]
    shown = rendering.exhibit(config, name, found, (), pathlib.Path())
    return '\n'.join(table.markdown() for table in shown.tables)
