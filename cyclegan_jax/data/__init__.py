"""Pictures of two domains: sources, decoding, preprocessing and batches."""
