"""Horses <-> zebras.

    python -m cyclegan_jax.main --config=configs/horse2zebra.py

Data: TFDS cycle_gan/horse2zebra (training set 1067 A / 1334 B, test set 120 /
140), downloaded on first use. Cost: 200 epochs of 1334 steps = 266,800 steps at
256 pixels, batch 1; needs an accelerator. Settings: official code, with
identity loss (0.5 * lambda = 5). The paper uses no identity loss here:
--config.loss.identity_a=0 --config.loss.identity_b=0. Published FID of the
official weights: 62.1 to zebra (77.2 without identity loss), 138.6 to horse.
Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/horse2zebra'
  return config
