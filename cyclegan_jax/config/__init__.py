"""Command line and recipe cards, turned into a Method and a Run of values."""
