"""Event files of TensorBoard, written without TensorFlow: a path is only a name here."""

import contextlib
import os
import pathlib
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from flexae_tf.files import write_bytes

# Charts of the tab "Custom scalars" as (category, chart, regular expressions of its tags).
CHARTS = (
    ('codes and prior', 'scale of z and z_hat', ['latent/z_scale$', 'latent/z_hat_scale$']),
    ('codes and prior', 'effective rank of z and z_hat', ['latent/z_rank$', 'latent/z_hat_rank$']),
    ('codes and prior', 'norm of z and z_hat', ['latent/z_norm$', 'latent/z_hat_norm$']),
    ('losses', 'all losses', ['loss/.*']),
    ('losses', 'squared error of training and held-out examples', ['loss/ae$', 'validation/ae$']),
    ('losses', 'gradient norms', ['grad_norm/.*']),
    ('scores', 'Frechet distances', ['metrics/f(i)?d[0-9_].*']),
    ('scores', 'scale of z and z_hat', ['metrics/z_scale_.*', 'metrics/z_hat_scale_.*']),
    ('scores', 'effective rank of z and z_hat', ['metrics/z_rank_.*', 'metrics/z_hat_rank_.*']),
)


class EventFile:
    """Writes events to an open file.

    Args:
        file: the file; the name must contain `tfevents`. TensorBoard reads the files of a folder in
            the order of their names.
        start: TensorBoard drops the events of earlier files of the folder from this step on, so
            that a resumed run has no point twice.

    Raises:
        OSError: the file cannot be written; also raised by `add`.
    """

    def __init__(self, file: BinaryIO, *, start: int) -> None:
        self._records = RecordWriter(file)
        self._write(Event(file_version='brain.Event:2'))
        self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, *summaries: Summary) -> None:
        """Appends summaries of a step."""
        for summary in summaries:
            self._write(Event(step=step, summary=summary))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()


def truncate_events(folder: pathlib.Path, step: int) -> None:
    """Drops the events after `step` from the event files of a folder, not of its sub-folders."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if 'tfevents' in path.name and path.is_file():
            content = path.read_bytes()
            with contextlib.suppress(DecodeError):  # a corrupt file stays
                events = [(Event.FromString(record[12:-4]), record) for record in _records(content)]
                kept = b''.join(record for event, record in events if event.step <= step)
                if kept != content:
                    write_bytes(path, kept)


def _records(content: bytes) -> Iterator[bytes]:
    """Yields the complete records of a file: length, checksum of it, event, checksum of it."""
    start = 0
    while start + 8 <= len(content):
        end = start + 16 + struct.unpack_from('<Q', content, start)[0]
        if end <= len(content):
            yield content[start:end]
        start = end


def new_name() -> str:
    """Returns the name of a new event file of this process, in the form that TensorFlow uses."""
    return f'events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}'


def scalar(tag: str, value: float, description: str = '') -> Summary:
    """Returns the summary of a number; TensorBoard shows the description (Markdown)."""
    return scalar_pb(tag, value, description=description)


def histogram(tag: str, values: np.ndarray) -> Summary:
    """Returns the summary of the distribution of values."""
    return histogram_pb(tag, values)


def text(tag: str, content: str) -> Summary:
    """Returns the summary of a text (Markdown); bytes of names that are not UTF-8 are escaped."""
    return text_pb(tag, _escape(content))


def image(tag: str, png: bytes, description: str = '') -> Summary:
    """Returns the summary of the contents of a PNG file; TensorBoard shows the description."""
    width, height = struct.unpack('>II', png[16:24])
    values = np.array([b'%d' % width, b'%d' % height, png], dtype=object)
    metadata = image_metadata.create_summary_metadata('', description, converted_to_tensor=True)
    return _summary(tag, make_tensor_proto(values), metadata)


def describe_protocol(label: str, ids: str, fields: Mapping[str, Any]) -> str:
    """Returns the description of a score: its protocol, whose id is too long for a tag."""
    known = ', '.join(f'{name}={value}' for name, value in fields.items() if value is not None)
    return f'Protocol {ids} ({label}): {known}'


def layout() -> Summary:
    """Returns the layout of the tab "Custom scalars"."""
    categories: dict[str, layout_pb2.Category] = {}
    for category, title, tags in CHARTS:
        chart = layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
        categories.setdefault(category, layout_pb2.Category(title=category)).chart.append(chart)
    content = layout_pb2.Layout(category=categories.values()).SerializeToString()
    tensor = make_tensor_proto(np.array(content, dtype=object))
    metadata = layout_metadata.create_summary_metadata()
    return _summary(layout_metadata.CONFIG_SUMMARY_TAG, tensor, metadata)


def session_start(hyperparameters: Mapping[str, bool | int | float | str], run: str) -> Summary:
    """Returns the start of a run in the tab "HParams".

    Args:
        hyperparameters: values by name.
        run: name of the run; runs of one name are one row.
    """
    return summary_v2.hparams_pb(dict(hyperparameters), trial_id=_escape(run))


def session_end() -> Summary:
    """Returns the successful end of a run in the tab "HParams"."""
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    metadata = hparams_metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )
    return _summary(hparams_metadata.SESSION_END_INFO_TAG, hparams_metadata.NULL_TENSOR, metadata)


def _escape(text: str) -> str:
    return text.encode(errors='backslashreplace').decode()


def _summary(tag: str, tensor: TensorProto, metadata: SummaryMetadata) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])
