"""Densities fitted to the codes of a finished run, to sample from in its prior's place."""
