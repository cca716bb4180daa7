"""Tables of the experiments on synthetic data."""

import functools
from collections.abc import Iterable, Iterator

from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Score
from flexae_tf.experiments.tables import (
    FD,
    RANK,
    RANKS,
    SLICED,
    Measure,
    Table,
    columns_of,
    for_each_dataset,
    layout,
    measured,
    noise_dim,
    protocols,
    select,
)
from flexae_tf.methods.table import title
from flexae_tf.metrics import comparison

EXACT = {
    'exact': Measure('Exact W1', 'latents', 'wasserstein', min),
    'exact floor': Measure('floor', 'latents', 'wasserstein_floor'),
    'exact_scaled': Measure('Exact W1 / scale', 'latents', 'wasserstein_scaled', min),
    'exact_scaled floor': Measure('floor', 'latents', 'wasserstein_floor_scaled'),
}
EXACT_SCALED = {key: m for key, m in EXACT.items() if 'scaled' in key}
FIG_2 = FD | {
    'critic': Measure('Critic', 'latents', 'critic_distance'),
    'sliced': Measure('Sliced W1', 'latents', 'sliced_wasserstein', min),
    'sliced floor': Measure('floor', 'latents', 'sliced_wasserstein_floor'),
    'critic_scaled': Measure('Critic / scale', 'latents', 'critic_distance_scaled'),
    'sliced_scaled': SLICED['sliced'],
    'sliced_scaled floor': SLICED['floor'],
}
CRITICS = {key: FIG_2[key] for key in ('critic', 'critic_scaled')}
AT_END_2 = FIG_2 | EXACT  # the exact distance is only computed for the last checkpoint
THEOREM_1 = FD | SLICED | EXACT_SCALED | RANKS
THEOREM_2 = {'gen': FD['gen'], **SLICED, **EXACT_SCALED, **CRITICS}
CRITIC = (
    "Critic: each checkpoint's own critic. It bounds the distance from below; claims of negative "
    'estimates are not tested.'
)


def model_of(score: Score) -> str:
    """Returns the model of Figs. 2 and 3, as in `paper.MODELS`."""
    return paper.model_of(score.method, score.options)


def models_of(scores: Iterable[Score]) -> dict[str, str]:
    """Returns the titles of the models of Figs. 2 and 3, in their order; others follow."""
    found = dict.fromkeys(map(model_of, scores))
    known = {name: text for name, text in paper.MODELS.items() if name in found}
    return known | {name: title(name) for name in found if name not in known}


def curves(scores: Iterable[Score], measure: Measure) -> dict[tuple[str, int], dict[int, float]]:
    """Returns the values of a measure by step for each (model, seed)."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for score in select(scores, measure):
        found.setdefault((model_of(score), score.seed), {})[score.step] = score.value
    return found


def _fig2(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, AT_END_2, lambda s: (model_of(s), s.step))
    found = columns['gen'].values
    scored = {name for name, _ in found}
    names = {name: text for name, text in models_of(scores).items() if name in scored}
    common = [step for _, step in found if all((m, step) in found for m in names)]
    if not common:
        return
    last = max(common)
    for key, column in columns.items():
        values = {m: v for (m, step), v in column.values.items() if step == last}
        columns[key] = column._replace(values=values)
    claims = [results.judge_order(claim, columns[claim.column].values, {}) for claim in paper.FIG_2]
    compared = [s for s in scores if model_of(s) in (paper.FIXED, paper.FLEXAE)]
    for measure in (FIG_2['sliced'], FIG_2['sliced_scaled']):
        found = curves(compared, measure)
        level = max((min(curve.values()) for curve in found.values()), default=0.0)
        first: dict[str, list[int]] = {}
        for (method, _), curve in found.items():
            first.setdefault(method, []).append(min(s for s, v in curve.items() if v <= level))
        text = f'FlexAE: fewer steps to {measure.head} {level:.3g}, which every run attains'
        values = {method: comparison.over_seeds(of_seeds) for method, of_seeds in first.items()}
        claims.append(results.judge_order(paper.Order(text, paper.PRIORS), values, {}, decimals=0))
    notes = [f'At step {last}.', *protocols(columns, AT_END_2), CRITIC]
    caption = f'Fig. 2, distances of prior and codes on {name}; lower is better'
    yield Table(caption, *layout('Model', names, measured(columns, AT_END_2)), notes, claims)


def _fig3(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, FD, model_of)
    gen, shown = columns['gen'].values, measured(columns, FD)
    rows = paper.MODELS | {m: title(m) for m in gen if m not in paper.MODELS}
    claims = [results.judge_order(claim, gen, rows) for claim in paper.FIG_3]
    if (floor := results.floor(scores, columns['gen'])) is not None:
        rows['floor'] = 'Training examples (floor)'
        shown[1][1]['floor'] = f'{floor:.3g}'
    caption = f'Fig. 3, Fréchet distance by prior on {name}, m = 2; lower is better'
    yield Table(caption, *layout('Model', rows, shown), protocols(columns, FD), claims)


def _theorem1(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, THEOREM_1, lambda s: (s.method, s.latent_dim))
    rows = {
        (method, m): f'{paper.MODELS[method]}, m = {m}'
        for method in (paper.FIXED, paper.FLEXAE)
        for m in paper.NOISE_DIMS
    }
    claims = []
    for label, key in (('sliced W1', 'sliced'), ('exact W1', 'exact_scaled')):
        floors = columns['floor' if key == 'sliced' else 'exact_scaled floor'].values
        of_fixed = {('floor', m): v for (method, m), v in floors.items() if method == paper.FIXED}
        names = rows | {row: f'floor, m = {row[1]}' for row in of_fixed}
        for claim in paper.THEOREM_1:
            claim = claim._replace(text=f'{claim.text}, by {label}')
            claims.append(results.judge_order(claim, columns[key].values | of_fixed, names))
    notes = [*protocols(columns, THEOREM_1), RANK]
    caption = f'Theorem 1, a fixed and a learned prior on {name} (n = 5) by the latent size m'
    yield Table(caption, *layout('Model', rows, measured(columns, THEOREM_1)), notes, claims)


def _theorem2(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, THEOREM_2, noise_dim)
    rows = {size: f"m' = {size}" for size in sorted({*paper.NOISE_DIMS, *columns['gen'].values})}
    values = {key: column.values for key, column in columns.items()}
    reached = (values['sliced'], values['floor'], paper.AT_FLOOR)
    claims = [results.judge_floor(paper.THEOREM_2_FLOOR, *reached)]
    claims += [results.judge_order(c, values[c.column], rows) for c in paper.THEOREM_2]
    shown, notes = measured(columns, THEOREM_2), protocols(columns, THEOREM_2)
    caption = f"Theorem 2, FlexAE on {name} by the size m' of P-GEN's input; lower is better"
    yield Table(caption, *layout('Input', rows, shown), notes, claims)


_MAKE = {'fig2': _fig2, 'fig3': _fig3, 'theorem1': _theorem1, 'theorem2': _theorem2}
TABLES = {name: functools.partial(for_each_dataset, make) for name, make in _MAKE.items()}
