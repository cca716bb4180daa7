"""All methods in one table and one picture."""

import dataclasses
import io

import numpy as np
import pytest
from matplotlib import image

from flexae_tf.config import METHODS
from flexae_tf.errors import UsageError
from flexae_tf.experiments.exhibits.side_by_side import ARCHITECTURES, LATENT, side_by_side
from tests.experiments.exhibits.test_figures import note, records, row

IMAGES = dict(dataset='mnist', latent_dim=32)


def of_method(method, untrained, gen, rec):
    """Records of a run and of its untrained self."""
    before, after = ({'training_steps': steps} for steps in (0, 3000))
    return [
        *records(untrained, method=method, options=before, step=0, **IMAGES),
        *records(gen, method=method, options=after, step=3000, **IMAGES),
        *records(rec, method=method, options=after, step=3000, kind='rec', **IMAGES),
    ]


def test_every_method_has_a_row_and_a_cost():
    (table,) = side_by_side(of_method('vae', 4.0, 1.0, 0.5)).tables
    assert [cells[0].text for cells in table.rows] == list(ARCHITECTURES.values())
    assert set(ARCHITECTURES) == set(METHODS)
    costs = [cells[-1].text for cells in table.rows]
    assert '-' not in costs and row(table, 'FlexAE')[-1] == '1.00'


def test_what_training_made_of_a_method():
    found = of_method('vae', 4.0, 1.0, 0.5) + of_method('flexae', 5.0, 2.0, 0.25)
    shown = side_by_side(found)
    (table,) = shown.tables
    assert row(table, 'VAE')[:4] == ['4.00 (1)', '1.00 (1)', '0.25', '0.500 (1)']
    assert row(table, 'FlexAE')[:4] == ['5.00 (1)', '2.00 (1)', '0.40', '0.250 (1)']
    assert row(table, 'WAE-GAN')[:4] == ['-'] * 4
    assert note(table, 'After training') == (
        'After training, Gen. is at most 0.3 of what it was: does not hold, for 1 of 2 methods '
        '(not: FlexAE).'
    )
    (better,) = side_by_side(of_method('vae', 4.0, 1.0, 0.5)).tables
    assert note(better, 'After training').endswith(': holds, for 1 of 1 methods.')
    assert shown.pictures == () and side_by_side([]).tables == ()


def test_how_near_the_prior_is_to_the_codes():
    found = of_method('vae', 4.0, 1.0, 0.5) + of_method('flexae', 5.0, 2.0, 0.25)
    options = dict(kind='codes', step=3000, options={'training_steps': 3000}, **IMAGES)
    for method, values in {
        'vae': (0.2, 0.01, 9.0, 31.0),
        'flexae': (0.1, 0.02, 25.0, 26.0),
    }.items():
        for stem, value in zip(LATENT, values, strict=True):
            (made,) = records(value, method=method, stem=stem, estimator='sliced', **options)
            if method == 'vae':
                drawn = dict(made.fields, features='posterior_samples')
                made = dataclasses.replace(made, fields=drawn, protocol='beef0123')
            found.append(made)
    (table,) = side_by_side(found).tables
    assert row(table, 'VAE')[4:8] == ['0.200 (1)', '0.0100 (1)', '9.00 (1)', '31.00 (1)']
    assert row(table, 'FlexAE')[4:8] == ['0.100 (1)', '0.0200 (1)', '25.00 (1)', '26.00 (1)']
    assert row(table, 'WAE-GAN')[4:8] == ['-'] * 4
    assert not any(cell.best for cells in table.rows for cell in cells[5:])
    assert 'beef0123' in note(table, 'Sliced W1 over scale, codes drawn from their posteriors')
    assert 'beef0123' not in note(table, 'Sliced W1 over scale:')
    other = [dataclasses.replace(r, protocol='0000beef') for r in found[-4:]]
    with pytest.raises(UsageError, match='0000beef'):
        side_by_side([*found, *(dataclasses.replace(r, method='wae_gan') for r in other)])


def test_half_of_it_is_shown_without_a_verdict():
    (table,) = side_by_side(of_method('vae', 4.0, 1.0, 0.5)[1:]).tables
    assert row(table, 'VAE')[:3] == ['-', '1.00 (1)', '-']
    assert note(table, 'After training').endswith(': not judged.')


def test_protocols_are_not_mixed():
    first, *others = of_method('vae', 4.0, 1.0, 0.5) + of_method('wae_gan', 4.0, 1.0, 0.5)
    with pytest.raises(UsageError, match='protocol'):
        side_by_side([dataclasses.replace(first, protocol='beef0123'), *others])
    # Nor before and after training.
    alone = of_method('vae', 4.0, 1.0, 0.5)
    alone[0] = dataclasses.replace(alone[0], protocol='beef0123')
    with pytest.raises(UsageError, match='that of untrained methods by beef0123'):
        side_by_side(alone)


def test_strips_become_one_picture():
    strips = {
        ('mnist', m): np.full([8, 40, 1], 10 * i, np.uint8) for i, m in enumerate(('vae', 'flexae'))
    }
    (picture,) = side_by_side(of_method('vae', 4.0, 1.0, 0.5), strips).pictures
    drawn = image.imread(io.BytesIO(picture.png))
    assert picture.name == 'methods_mnist' and drawn.ndim == 3 and drawn.std() > 0.1
    strips['mnist', 'vae'] = 255 - strips['mnist', 'vae']
    (other,) = side_by_side(of_method('vae', 4.0, 1.0, 0.5), strips).pictures
    assert other.png != picture.png
    strips['celeba', 'vae'] = np.zeros([8, 40, 3], np.uint8)  # of other data, another picture
    assert [p.name for p in side_by_side([], strips).pictures] == [
        'methods_mnist',
        'methods_celeba',
    ]
