"""Experiments: many runs, each trained and scored by the other programs."""
