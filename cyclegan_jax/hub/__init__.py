"""The Hugging Face Hub: addresses of models, downloads and uploads."""
