"""Joint training of auto-encoder and prior against samplers fitted to finished codes."""

from collections.abc import Sequence

from flexae_tf.experiments import paper
from flexae_tf.experiments.columns import gather
from flexae_tf.experiments.exhibits import claims
from flexae_tf.experiments.exhibits.layout import Head, Parts, Table
from flexae_tf.experiments.exhibits.showing import alone, assemble, times
from flexae_tf.experiments.exhibits.verdicts import chance
from flexae_tf.experiments.records import Record, latest

JOINT = 'flexae'
ARCHITECTURES = {
    JOINT: 'FlexAE: its prior',
    'flexae+gaussian_mixture': 'FlexAE: mixture fitted afterwards',
    'ae_gmm': 'AE: mixture fitted afterwards',
    'ae_gmm+latent_gan': 'AE: P-GEN trained afterwards',
}
CLAIMS = {  # by the row that FlexAE's own prior is compared with
    'ae_gmm+latent_gan': 'Joint training has a lower Gen. than the same P-GEN trained on the '
    'finished codes',
    'ae_gmm': 'Joint training has a lower Gen. than a mixture fitted to the finished codes',
    'flexae+gaussian_mixture': 'On codes trained jointly, P-GEN has a lower Gen. than a mixture '
    'fitted to them',
}
SHOWN = (  # kind, stem, head, best
    ('rec', 'fd', Head('Rec.', 'Frechet distance', numeric=True), min),
    ('gen', 'fd', Head('Gen.', 'Frechet distance', numeric=True), min),
    ('gen', 'prd_precision', Head('Precision', 'Samples', numeric=True), max),
    ('gen', 'prd_recall', Head('Recall', 'Samples', numeric=True), max),
    ('codes', 'sliced_wasserstein_scaled', Head('mean', 'Sliced W1 over scale', numeric=True), min),
    (
        'codes',
        'sliced_wasserstein_floor_scaled',
        Head('floor', 'Sliced W1 over scale', numeric=True),
        None,
    ),
)


def joint(records: Sequence[Record], *, commands: Sequence[str] = ()) -> Parts:
    """Whether a prior learned together with the codes is ahead of one learned after them.

    Args:
        records: of the last checkpoints, and of densities fitted to them.
        commands: that made them.

    Raises:
        UsageError: scores cannot be compared.
    """
    taken = [r for r in latest(records) if r.method in ARCHITECTURES]
    tables = [
        _table(dataset, [r for r in taken if r.dataset == dataset], commands)
        for dataset in dict.fromkeys(r.dataset for r in taken)
    ]
    return Parts(tuple(tables))


def _table(dataset: str, records: Sequence[Record], commands: Sequence[str]) -> Table:
    shown, notes, gen = [], [claims.OURS], {}
    for kind, stem, head, best in SHOWN:
        column = gather(
            (r for r in records if (r.kind, r.stem) == (kind, stem)), row=lambda r: r.method
        )
        if not column.values:
            continue
        shown.append(alone(column.values, head, best=best))
        notes += claims.about(f'{head.group} {head.name}', column)
        if (kind, stem) == ('gen', 'fd'):
            gen = column.values
            if floor := claims.floor(records, column):
                notes.append(f'As many training images are at {floor.mean:.3g} from the real ones.')
    if trained := times(records, Head('Training', numeric=True), row=lambda r: r.method):
        shown += trained
        notes.append('Training has the time of what is trained afterwards, too.')
    for other, claim in CLAIMS.items():
        notes.append(claims.lower(claim, [JOINT], [other], gen, names=ARCHITECTURES))
    notes.append(chance(gen))
    caption = (
        f'Joint training and samplers fitted afterwards, {paper.DATASETS.get(dataset, dataset)}; '
        'lower is better, but of precision and recall'
    )
    return assemble(
        caption, ARCHITECTURES, shown, notes=notes, commands=commands, first='Codes and sampler'
    )
