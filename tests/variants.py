"""List of generators with every value of the options that change layers."""

import pytest

from cyclegan_jax import nets
from cyclegan_jax.nets import forward
from cyclegan_jax.nets.generators import DOWNSAMPLINGS

_LAYERS = {'downsampling': DOWNSAMPLINGS, 'padding': forward._PADS}
# As in CUT: a blur in every downsampling and upsampling.
BLURS = {'upsampling': 'blur', 'downsampling': 'blur'}


def _variants():
  for name, kind in nets.GENERATORS.items():
    if nets.network_class(kind) is not kind:
      continue  # has a fixed depth and otherwise equals another generator
    options = [{'upsampling': value} for value in kind.activations] + [
      {option: value}
      for option in sorted(_LAYERS.keys() & nets.fields(kind))
      for value in _LAYERS[option]
      if value
      != getattr(kind, option)  # the default is covered by the plain network
    ]
    for x in options:
      yield pytest.param(name, x, id='-'.join((name, *sum(x.items(), ()))))


# (name of a generator, options)
VARIANTS = list(_variants())
