"""The methods by name. A new one is a file here and a line in `METHODS`."""

from cyclegan_jax.methods.bigan import bigan
from cyclegan_jax.methods.cogan import cogan
from cyclegan_jax.methods.cyclegan import cyclegan
from cyclegan_jax.methods.feature import feature
from cyclegan_jax.methods.pix2pix import pix2pix
from cyclegan_jax.methods.simgan import simgan

# name -> `Choices` -> `Method`
METHODS = {
  'cyclegan': cyclegan,
  'pix2pix': pix2pix,
  'simgan': simgan,
  'feature': feature,
  'bigan': bigan,
  'cogan': cogan,
}
