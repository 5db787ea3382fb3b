"""Flowers by phone <-> by camera.

    python -m cyclegan_jax.main --config=configs/iphone2dslr_flower.py

Data: TFDS cycle_gan/iphone2dslr_flower (train 1812/3325, test 569/480),
downloaded on first use. Cost: 200 epochs of 3325 steps = 665,000 steps at 256
px, batch 1: a job for an accelerator. Settings: the official code's, identity
loss included (0.5 * lambda); the paper trains this set without:
--config.loss.identity_a=0 --config.loss.identity_b=0. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/iphone2dslr_flower'
  return config
