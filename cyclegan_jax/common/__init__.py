"""Helpers shared by all folders: errors, files, images, processes."""
