"""Evaluation: images to cached features to scores in scores.jsonl."""
