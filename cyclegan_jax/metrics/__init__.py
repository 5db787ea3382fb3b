"""Metrics of translations, and the test pictures they are taken over."""
