"""Facades <-> label maps.

    python -m cyclegan_jax.main --config=configs/facades.py

Data: TFDS cycle_gan/facades (train 400/400, test 106/106), downloaded on first
use. Cost: 200 epochs of 400 steps = 80,000 steps at 256 px, batch 1: a job for
an accelerator. Settings: the official code's, identity loss included (0.5 *
lambda); the paper trains this set without: --config.loss.identity_a=0
--config.loss.identity_b=0. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/facades'
  return config
