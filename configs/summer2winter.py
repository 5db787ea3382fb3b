"""Summer <-> winter in Yosemite.

    python -m cyclegan_jax.main --config=configs/summer2winter.py

Data: TFDS cycle_gan/summer2winter_yosemite (train 1231/962, test 309/238),
downloaded on first use. Cost: 200 epochs of 1231 steps = 246,200 steps at 256
px, batch 1: a job for an accelerator. Settings: the official code's, identity
loss included (0.5 * lambda); the paper trains this set without:
--config.loss.identity_a=0 --config.loss.identity_b=0. Published FID of the
official weights: 77.3 to winter, 72.6 to summer. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/summer2winter_yosemite'
  return config
