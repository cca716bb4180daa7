"""Metrics as pure functions of feature arrays, their table, and the protocol of a score."""
