"""Metrics that score translations against the pictures of a test set."""
