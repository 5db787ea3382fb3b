"""Table of the methods by name.

A new method is a file in this folder and a line in `METHODS`.
"""

from cyclegan_jax.methods import (
  bigan,
  cogan,
  cut,
  cyclegan,
  dclgan,
  feature,
  pix2pix,
  simgan,
)

METHODS = {
  'cyclegan': cyclegan.ENTRY,
  'pix2pix': pix2pix.ENTRY,
  'simgan': simgan.ENTRY,
  'feature': feature.ENTRY,
  'bigan': bigan.ENTRY,
  'cogan': cogan.ENTRY,
  'cut': cut.ENTRY,
  'fastcut': cut.FAST_ENTRY,
  'dclgan': dclgan.ENTRY,
}
