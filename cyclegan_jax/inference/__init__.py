"""Use of a trained model: loading it, translating pictures and videos."""
