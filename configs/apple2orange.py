"""Apples <-> oranges.

    python -m cyclegan_jax.main --config=configs/apple2orange.py

Data: TFDS cycle_gan/apple2orange (training set 995 A / 1019 B, test set 266 /
248), downloaded on first use. Cost: 200 epochs of 1019 steps = 203,800 steps at
256 pixels, batch 1; needs an accelerator. Settings: official code, with
identity loss (0.5 * lambda = 5). The paper uses no identity loss here:
--config.loss.identity_a=0 --config.loss.identity_b=0. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/apple2orange'
  return config
