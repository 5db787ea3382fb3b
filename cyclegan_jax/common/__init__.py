"""Pieces without a topic of their own: errors, files, images, processes."""
