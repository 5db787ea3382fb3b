"""Exports trained generators to the formats of other runtimes and the web."""
