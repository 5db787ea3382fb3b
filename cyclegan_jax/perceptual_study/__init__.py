"""Perceptual studies: people tell real pictures from generated pictures."""
