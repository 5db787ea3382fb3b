"""Official PyTorch checkpoints, read and written without PyTorch."""

from cyclegan_jax.pth.layouts import Network, export, has_averages, recognise
from cyclegan_jax.pth.models import PLACES, load, networks
from cyclegan_jax.pth.reading import read
from cyclegan_jax.pth.writing import write

__all__ = [
  'PLACES',
  'Network',
  'export',
  'has_averages',
  'load',
  'networks',
  'read',
  'recognise',
  'write',
]
