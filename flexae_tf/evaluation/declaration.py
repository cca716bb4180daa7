"""Declarations of feature networks other than Inception: `feature_network.json`."""

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

from flexae_tf.checked_files import parse_json
from flexae_tf.config.evaluate import RESIZES
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import tfgan
from flexae_tf.foreign_files import open_regular

FILE = 'feature_network.json'
_MAX_BYTES = 2**16
# First words of names of other scores, such as fd_mixed_7_5000_gen or fd_pixels_10k_gen.
_RESERVED = ('pixels', 'vectors', 'mixed', 'pool', 'conv', 'logits', 'softmax', 'infinity')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """Input of a feature network, and its name.

    Attributes:
        name: name of the network in names of scores; None for Inception.
        image_size: height and width of the input.
        value_range: values of the input that stand for black (0) and white (255).
        resize: method of the resize to `image_size`, a key of `preprocessing.RESIZES`.
        layer: output that is compared by default; None if the network has only one output.
    """

    name: str | None
    image_size: int
    value_range: tuple[float, float]
    resize: str
    layer: str | None = None

    def checksum(self, network: str) -> str:
        """Returns the checksum of a network together with the values of its input."""
        text = json.dumps([network, self.image_size, self.value_range])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def inception(resize: str) -> Declaration:
    """Returns the declaration of networks with the interface of TF-GAN's Inception network."""
    return Declaration(
        name=None,
        image_size=tfgan.IMAGE_SIZE,
        value_range=tfgan.VALUE_RANGE,
        resize=resize,
        layer=tfgan.FINAL_POOL,
    )


def read(folder: str) -> Declaration:
    """Returns the declaration in the folder of a feature network.

    Raises:
        MissingDataError: the file is missing or invalid.
    """
    label, cure = f'--feature_network={folder}: {FILE}', 'See "Feature network" in PROTOCOLS.md'
    try:
        with open_regular(pathlib.Path(folder, FILE)) as file:
            content = file.read(_MAX_BYTES)
        document = parse_json(label, content, object, cure=cure, error=MissingDataError)
        return _parse(document)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MissingDataError(f'{label}: {reason}. {cure}.') from None


def _parse(document: dict[str, Any]) -> Declaration:
    """Returns a declaration.

    Raises:
        ValueError: a field is unknown, missing or invalid.
    """
    fields = {field.name: field for field in dataclasses.fields(Declaration)}
    for key in document:
        if key not in fields:
            raise ValueError(f'unknown field {key!r}, not one of {", ".join(fields)}')
    for key, field in fields.items():
        if key not in document and field.default is dataclasses.MISSING:
            raise ValueError(f'no field {key!r}')
    for key, (is_valid, expected) in _CHECKS.items():
        if key in document and not is_valid(document[key]):
            raise ValueError(f'{key} is {document[key]!r}, not {expected}')
    return Declaration(**document | {'value_range': tuple(map(float, document['value_range']))})


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch('[a-z][a-z0-9_]*', value):
        return False
    return value.split('_')[0] not in _RESERVED


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return numbers and value[0] < value[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


_CHECKS = {
    'name': (
        _is_name,
        f'small letters, digits and _ that do not begin with {", ".join(_RESERVED)}',
    ),
    'image_size': (_is_size, 'an integer from 1 to 4096'),
    'value_range': (_is_range, 'two numbers, for black and for white, such as [0, 1]'),
    'resize': (lambda value: value in RESIZES, f'one of {", ".join(RESIZES)}'),
    'layer': (lambda value: isinstance(value, str) and value != '', 'the name of an output'),
}
