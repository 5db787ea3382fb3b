"""Horses <-> zebras.

    python -m cyclegan_jax.main --config=configs/horse2zebra.py

Data: TFDS cycle_gan/horse2zebra (train 1067/1334, test 120/140), downloaded on
first use. Cost: 200 epochs of 1334 steps = 266,800 steps at 256 px, batch 1: a
job for an accelerator. Settings: the official code's, identity loss included
(0.5 * lambda); the paper trains this set without: --config.loss.identity_a=0
--config.loss.identity_b=0. Published FID of the official weights: 62.1 to zebra
(77.2 without identity loss), 138.6 to horse. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/horse2zebra'
  return config
