import pytest

from flexae_tf.networks import tables
from flexae_tf.networks.tables import Base, Conv, Row, TConv


@pytest.fixture
def short_networks(monkeypatch):
    """The MNIST row with a layer of each kind and no more: a third of the time to trace."""
    row = Row(
        size=28,
        latent_dim=4,
        encoder=(Conv(4, 4, 2),),
        decoder=(Base(3), TConv(5, 4, 2)),
        last_kernel=4,
    )
    monkeypatch.setitem(tables.ROWS, 'mnist', row)
