"""Photographs of Yosemite in summer <-> in winter.

    python -m cyclegan_jax.main --config=configs/summer2winter.py

Data: TFDS cycle_gan/summer2winter_yosemite (training set 1231 A / 962 B, test
set 309 / 238), downloaded on first use. Cost: 200 epochs of 1231 steps =
246,200 steps at 256 pixels, batch 1; needs an accelerator. Settings: official
code, with identity loss (0.5 * lambda = 5). The paper uses no identity loss
here: --config.loss.identity_a=0 --config.loss.identity_b=0. Published FID of
the official weights: 77.3 to winter, 72.6 to summer. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/summer2winter_yosemite'
  return config
