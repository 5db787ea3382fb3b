"""Reader and writer of official PyTorch checkpoints that needs no PyTorch."""

from cyclegan_jax.pth.epochs import (
  check_epoch,
  choose,
  epochs,
  expand,
  has_heads,
)
from cyclegan_jax.pth.layouts import Network, export, has_averages, recognise
from cyclegan_jax.pth.models import combine, load, networks, states
from cyclegan_jax.pth.reading import read
from cyclegan_jax.pth.writing import write

__all__ = [
  'Network',
  'check_epoch',
  'choose',
  'combine',
  'epochs',
  'expand',
  'export',
  'has_averages',
  'has_heads',
  'load',
  'networks',
  'read',
  'recognise',
  'states',
  'write',
]
