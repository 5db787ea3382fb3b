"""Generators with every value of the options that decide their layers."""

import pytest

from cyclegan_jax import nets
from cyclegan_jax.nets import forward
from cyclegan_jax.nets.generators import DOWNSAMPLINGS

_LAYERS = {'downsampling': DOWNSAMPLINGS, 'padding': forward._PADS}
# As in CUT: a blur wherever a picture is halved or doubled.
BLURS = {'upsampling': 'blur', 'downsampling': 'blur'}


def _variants():
  for name, kind in nets.GENERATORS.items():
    if nets.network_class(kind) is not kind:
      continue  # of a fixed depth, and otherwise like another
    options = [{'upsampling': value} for value in kind.activations] + [
      {option: value}
      for option in sorted(_LAYERS.keys() & nets.fields(kind))
      for value in _LAYERS[option]
      if value != getattr(kind, option)  # that network is among the first
    ]
    for x in options:
      yield pytest.param(name, x, id='-'.join((name, *sum(x.items(), ()))))


# (name of a generator, options)
VARIANTS = list(_variants())
