"""Formats a generator is exported to."""
