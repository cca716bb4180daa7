import dataclasses
import json
import types

import numpy as np
import pytest

from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import TrainConfig
from flexae_tf.data.decoding import DECODER
from flexae_tf.experiments.results import RECORDED
from flexae_tf.metrics.protocol import SUFFIXES, Protocol, fingerprint, raw_protocol

PIXELS = Protocol(dataset='mnist', split='test', num=10_000)
NETWORK = dict(features='inception', network='0123456789ab', resize='tf1_bilinear_299')
MIXED_7 = dataclasses.replace(PIXELS, layer='mixed_7', **NETWORK)
POOL_3 = dataclasses.replace(PIXELS, layer='pool_3', **NETWORK)
TFGAN = dataclasses.replace(POOL_3, tfgan_network=True)
DINO = dataclasses.replace(
    MIXED_7, features='network', network_name='dinov2', layer='cls', resize='bicubic_224'
)
VECTORS = dataclasses.replace(
    PIXELS, dataset='synthetic_2d', features='vectors', quantization='none'
)
RECALIBRATED = dataclasses.replace(TFGAN, batch_norm='recalibrated_10')
AUTHORS = dict(minmax_normalize=True, quantization='none')
FOLDER = dataclasses.replace(PIXELS, dataset='folder', data='abcdef012345')


@pytest.mark.parametrize(
    ('protocol', 'image_set', 'name'),
    [
        (TFGAN, 'samples', 'fid10k_gen'),
        (dataclasses.replace(TFGAN, num=5000), 'samples', 'fid5000_gen'),
        (RECALIBRATED, 'reconstructions', 'fid10k_rec_recalibrated'),
        (
            dataclasses.replace(RECALIBRATED, selection='minimum_of_late'),
            'samples',
            'fid10k_gen_recalibrated_min',
        ),
        (dataclasses.replace(TFGAN, num=50_000), 'train', 'fid50k_floor'),
        (dataclasses.replace(TFGAN, num=10_500), 'reconstructions', 'fid10500_rec'),
        (dataclasses.replace(TFGAN, layer='logits'), 'reconstructions', 'fd_logits_10k_rec'),
        (MIXED_7, 'samples', 'fd_mixed_7_10k_gen'),
        (dataclasses.replace(POOL_3, num=1000), 'reconstructions', 'fd_pool_3_1000_rec'),
        (PIXELS, 'samples', 'fd_pixels_10k_gen'),
        (VECTORS, 'samples', 'fd_vectors_10k_gen'),
        (dataclasses.replace(TFGAN, statistics='0' * 12), 'samples', 'fid10k_gen_unverified'),
        (dataclasses.replace(TFGAN, selection='minimum_of_late'), 'samples', 'fid10k_gen_min'),
        (dataclasses.replace(MIXED_7, **AUTHORS), 'reconstructions', 'fd_mixed_7_10k_rec'),
        (DINO, 'samples', 'fd_dinov2_cls_10k_gen'),
        (dataclasses.replace(DINO, layer='pool_3'), 'samples', 'fd_dinov2_pool_3_10k_gen'),
    ],
)
def test_name_of_frechet_distances(protocol, image_set, name):
    assert protocol.name(image_set) == name


def test_name_fid_needs_pool_3_of_tfgan():
    for protocol in (PIXELS, VECTORS, MIXED_7, POOL_3, FOLDER, DINO):
        assert not any('fid' in protocol.name(image_set) for image_set in SUFFIXES)


@pytest.mark.parametrize(
    ('protocol', 'stem', 'name'),
    [
        (TFGAN, 'kd', 'kid10k_gen'),
        (TFGAN, 'fd_infinity', 'fid_infinity10k_gen'),
        (TFGAN, 'prd_recall', 'prd_recall10k_gen'),
        (POOL_3, 'kd', 'kd_pool_3_10k_gen'),
        (DINO, 'kd', 'kd_dinov2_cls_10k_gen'),
        (PIXELS, 'coverage', 'coverage_pixels_10k_gen'),
        (dataclasses.replace(PIXELS, features='codes'), 'z_rank', 'z_rank_10k_gen'),
    ],
)
def test_name_of_other_metrics(protocol, stem, name):
    assert protocol.name('samples', stem) == name


@pytest.mark.parametrize(
    ('protocol', 'label'),
    [
        (TFGAN, 'standard'),
        (VECTORS, 'standard'),
        (dataclasses.replace(TFGAN, **AUTHORS), 'authors'),
        (dataclasses.replace(TFGAN, minmax_normalize=True), 'custom'),
        (dataclasses.replace(TFGAN, quantization='none'), 'custom'),
        (dataclasses.replace(TFGAN, resize='half_pixel_bilinear_299'), 'custom'),
        (dataclasses.replace(TFGAN, resize='half_pixel_bilinear_299', **AUTHORS), 'custom'),
        (dataclasses.replace(VECTORS, selection='minimum_of_all'), 'authors'),
        (TFGAN.against_unverified('0' * 12), 'custom'),
        (DINO, 'standard'),
        (dataclasses.replace(TFGAN, resize_to='centre_antialiased_64'), 'custom'),
        (RECALIBRATED, 'custom'),
        (dataclasses.replace(RECALIBRATED, **AUTHORS), 'custom'),
        (dataclasses.replace(VECTORS, features='codes'), 'standard'),
        (dataclasses.replace(VECTORS, features='posterior_samples'), 'standard'),
    ],
)
def test_label_standard_authors_custom(protocol, label):
    assert protocol.label == label


def test_real_side_ignores_treatment_of_fakes():
    authors = dataclasses.replace(TFGAN, **AUTHORS, selection='minimum_of_late', estimator='knn_3')
    assert authors.real_side() == RECALIBRATED.real_side() == TFGAN
    assert VECTORS.real_side() == VECTORS
    assert authors.differences(TFGAN) and not TFGAN.differences(POOL_3)
    assert 'num=10000 and 5000' in TFGAN.differences(dataclasses.replace(TFGAN, num=5000))


def test_against_unverified_replaces_the_real_side():
    other = dataclasses.replace(TFGAN, split='validation', crop=140)
    assert other.against_unverified('0' * 12) == TFGAN.against_unverified('0' * 12)
    assert TFGAN.against_unverified('0' * 12).id != TFGAN.against_unverified('1' * 12).id


def test_name_refuses_unknown_set():
    with pytest.raises(ValueError, match='reconstructions, samples, train'):
        PIXELS.name('generated')


CHANGES = [
    dict(dataset='fashion_mnist'),
    dict(split='validation'),
    dict(num=9999),
    dict(crop=140),
    dict(data='0' * 12, dataset='folder'),
    dict(data='1' * 12, dataset='folder'),
    dict(features='pixels', layer=None, network=None, resize=None),
    dict(features='vectors', layer=None, network=None, resize=None, quantization='none'),
    dict(features='codes', layer=None, network=None, resize=None),
    dict(quantization='none'),
    dict(statistics='0' * 12),
    dict(selection='minimum_of_late'),
    dict(selection='minimum_of_all'),
    dict(layer='pool_3'),
    dict(network='ba9876543210'),
    dict(resize='half_pixel_bicubic_299'),
    dict(minmax_normalize=True),
    dict(estimator='frechet_sqrtm_f32'),
    dict(network_name='dinov2', features='network'),
    dict(network_name='dinov2_small', features='network'),
    dict(decoder='integer_accurate'),
    dict(resize_to='centre_antialiased_64'),
    dict(train='0' * 12),
    dict(train='1' * 12),
    dict(batch_norm='recalibrated_10'),
    dict(batch_norm='recalibrated_20'),
]


def test_id_changes_with_every_field():
    ids = [MIXED_7.id] + [dataclasses.replace(MIXED_7, **change).id for change in CHANGES]
    assert len(set(ids)) == len(ids)
    changed = {name for change in CHANGES for name in change}
    fields = {field.name for field in dataclasses.fields(Protocol) if field.compare}
    assert changed == fields, 'a new field of Protocol needs a line in CHANGES'


def test_id_ignores_origin_of_the_network():
    assert TFGAN.id == POOL_3.id
    assert TFGAN == POOL_3


def test_id_is_stable():
    # Finished runs hold these ids in scores.jsonl.
    assert PIXELS.id == 'dd1089b2'
    assert TFGAN.id == '2cf742ca'


def test_recorded_fields_give_recorded_ids():
    recorded = [r for r in read_jsonl(RECORDED) if 'fields' in r]
    protocols = {r['protocol']: r['fields'] for r in recorded}
    assert len(protocols) > 10
    for id_, fields in protocols.items():
        assert Protocol(**fields).id == id_ and Protocol(**fields).fields() == fields


def test_unset_later_fields_are_differences():
    decoded = dataclasses.replace(PIXELS, decoder='integer_accurate')
    assert decoded.differences(PIXELS) == 'decoder=integer_accurate and None'
    assert PIXELS.differences(decoded) == 'decoder=None and integer_accurate'


def test_protocol_survives_json():
    fields = json.loads(json.dumps(dataclasses.asdict(TFGAN)))
    assert Protocol(**fields).id == TFGAN.id


@pytest.mark.parametrize(
    'fields',
    [
        dict(features='vgg'),
        dict(quantization='truncated'),
        dict(features='inception'),
        dict(features='inception', layer='pool_3', resize='tf1_bilinear_299'),
        dict(layer='pool_3'),
        dict(network='0123456789ab'),
        dict(features='network', layer='cls', network='0123456789ab', resize='bicubic_224'),
        dict(network_name='dinov2'),
        dict(resize='tf1_bilinear_299'),
        dict(tfgan_network=True),
        dict(data='abcdef012345'),
        dict(dataset='folder'),
        dict(quantization='uint8_round', features='vectors'),
        dict(selection='best'),
    ],
)
def test_protocol_refuses_contradictions(fields):
    with pytest.raises(ValueError, match=next(iter(fields)).split('_')[0]):
        Protocol(**dict(dataset='mnist', split='test', num=10) | fields)


def test_raw_protocol_of_data_sets(tmp_path):
    images, vectors = types.SimpleNamespace(kind='images'), types.SimpleNamespace(kind='vectors')
    x = np.zeros((10, 4, 4, 1), np.uint8)

    def protocol(spec, **options):
        return raw_protocol(TrainConfig(**options), spec, split='test', x=x)

    assert protocol(images, dataset='mnist') == dataclasses.replace(PIXELS, num=10)
    assert protocol(vectors, dataset='synthetic_2d') == dataclasses.replace(VECTORS, num=10)
    assert protocol(images, dataset='celeba').crop == 140
    assert protocol(images, dataset='celeba', celeba_crop=108).crop == 108
    assert protocol(images, dataset='cifar10', celeba_crop=108).crop is None
    assert protocol(images, dataset='folder').data == fingerprint(x)
    assert protocol(images, dataset='mnist').data is None
    decoded = dict(celeba=None, folder=str(tmp_path)), dict(mnist=None, folder='images.npz')
    for decoder, data_dirs in zip((DECODER, None), decoded, strict=True):
        for dataset, data_dir in data_dirs.items():
            assert protocol(images, dataset=dataset, data_dir=data_dir).decoder == decoder


def test_fingerprint_distinguishes_arrays():
    x = np.arange(12, dtype=np.uint8).reshape(2, 6)
    others = [x.reshape(3, 4), x[:, ::-1], x.astype(np.int8), x[:1]]
    assert len({fingerprint(array) for array in [x, *others]}) == 5
    assert fingerprint(x) == fingerprint(np.asfortranarray(x))
    assert len(fingerprint(x)) == 12
