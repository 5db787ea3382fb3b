"""Aerial photographs <-> street maps.

    python -m cyclegan_jax.main --config=configs/maps.py

Data: TFDS cycle_gan/maps (train 1096/1096, test 1098/1098), downloaded on first
use. Cost: 200 epochs of 1096 steps = 219,200 steps at 256 px, batch 1: a job
for an accelerator. Settings: the official code's, identity loss included (0.5 *
lambda); the paper trains this set without: --config.loss.identity_a=0
--config.loss.identity_b=0. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/maps'
  return config
