"""The paper's numbers, checked by what it says of them itself."""

import pytest

from flexae_tf import config
from flexae_tf.experiments import paper


def test_table_1_has_all_methods_and_data_sets():
    assert len(paper.METHODS) == 13 and list(paper.TABLE_1) == list(paper.METHODS)
    assert set(paper.METHODS) <= set(config.METHODS)
    assert set(paper.DATASETS) == set(paper.LATENT_DIMS) <= set(config.DATASETS)
    for row in paper.TABLE_1.values():
        assert list(row) == ['mnist', 'cifar10', 'celeba']


@pytest.mark.parametrize('dataset', paper.DATASETS)
@pytest.mark.parametrize('kind', paper.Fid._fields)
def test_flexae_is_best_in_every_column_of_table_1(dataset, kind):
    column = {method: getattr(row[dataset], kind) for method, row in paper.TABLE_1.items()}
    flexae = column.pop('flexae')
    assert flexae < min(column.values())


def test_one_run_of_injflow_has_one_reconstruction():
    for dataset in paper.DATASETS:
        plain, mixture = paper.TABLE_1['injflow'][dataset], paper.TABLE_1['injflow_gmm'][dataset]
        assert plain.rec == mixture.rec and plain.gen > mixture.gen


@pytest.mark.parametrize(
    'dataset, rec, gen',
    [('mnist', 157.52, 285.13), ('cifar10', 813.61, 1209.77), ('celeba', 450.67, 598.09)],
)
def test_columns_of_table_1_add_up_as_on_the_page(dataset, rec, gen):
    column = [row[dataset] for row in paper.TABLE_1.values()]
    assert round(sum(fid.rec for fid in column), 2) == rec
    assert round(sum(fid.gen for fid in column), 2) == gen


def test_only_the_plain_vae_has_reconstructions_that_are_worse_than_its_samples():
    smaller = [
        (method, dataset)
        for method, row in paper.TABLE_1.items()
        for dataset, fid in row.items()
        if fid.gen < fid.rec
    ]
    assert smaller == [('vae', 'mnist'), ('vae', 'cifar10')]


def test_flexae_is_best_in_table_2_but_for_one_recall():
    assert set(paper.TABLE_2) < set(paper.METHODS)
    better = [
        (method, dataset, side)
        for method, row in paper.TABLE_2.items()
        for dataset, scores in row.items()
        for side in scores._fields
        if getattr(scores, side) > getattr(paper.TABLE_2['flexae'][dataset], side)
    ]
    assert better == [('rae_gmm', 'cifar10', 'recall')]  # in spite of the bold print


def test_table_3_agrees_with_table_1():
    assert 2 * paper.BASE_LATENT_DIMS['celeba'] == paper.LATENT_DIMS['celeba']
    assert paper.TABLE_3[2]['celeba'] == {
        method: paper.TABLE_1[method]['celeba'] for method in ('wae_gan', 'flexae')
    }


def test_table_3_columns_are_where_they_were():
    for dataset in paper.BASE_LATENT_DIMS:
        for row in paper.TABLE_3.values():
            wae, flexae = row[dataset][paper.WAE], row[dataset][paper.FLEXAE]
            assert flexae.rec < wae.rec and flexae.gen < wae.gen and wae.rec < wae.gen
    assert paper.TABLE_3[4]['mnist'] == {'wae_gan': (3.12, 35.20), 'flexae': (1.42, 5.92)}
