"""Scores: pure functions on arrays, the network whose features they use, and what they mean."""
