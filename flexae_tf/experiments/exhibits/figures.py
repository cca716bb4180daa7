"""The figures that are made of scores, and the experiments on the paper's claims, by artifact."""

from flexae_tf.experiments.exhibits.capacities import figure_5
from flexae_tf.experiments.exhibits.joint import joint
from flexae_tf.experiments.exhibits.latent_spaces import LatentView, figure_3, latent_view
from flexae_tf.experiments.exhibits.noise_sizes import theorem_2
from flexae_tf.experiments.exhibits.over_training import figure_2

__all__ = [
    'EXHIBITS',
    'LatentView',
    'figure_2',
    'figure_3',
    'figure_5',
    'joint',
    'latent_view',
    'theorem_2',
]

EXHIBITS = {
    'fig2': figure_2,
    'fig3': figure_3,
    'fig5': figure_5,
    'theorem2': theorem_2,
    'joint': joint,
}
