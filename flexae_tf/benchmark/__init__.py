"""Measurements of speed and memory (`bin/benchmark.py`)."""
