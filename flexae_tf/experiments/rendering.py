"""What is made of the records of an artifact: tables as Markdown and HTML."""

import pathlib
import shlex
from collections.abc import Iterator, Sequence

from flexae_tf.experiments import tables
from flexae_tf.experiments.records import Record
from flexae_tf.training.workdir import write_text

TABLES = {'table1': tables.table_1, 'table2': tables.table_2, 'table3': tables.table_3}


def render(
    name: str, records: Sequence[Record], folder: pathlib.Path, *, command: Sequence[str]
) -> Iterator[pathlib.Path]:
    """Writes what there is to be seen of an artifact into `folder`; yields the files.

    Args:
        name: one of `config.ARTIFACTS`.
        records: of its scorings.
        folder: of the artifact.
        command: that makes them.
    """
    if name in TABLES:
        # Of a run compared with other examples than the test's, no table of the paper tells.
        tested = [record for record in records if record.split == 'test']
        table = TABLES[name](tested, commands=[shlex.join(command)])
        for path, text in (
            (folder / f'{name}.md', table.markdown()),
            (folder / f'{name}.html', table.html()),
        ):
            write_text(path, text)
            yield path
