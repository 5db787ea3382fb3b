"""Aerial photographs <-> street maps.

    python -m cyclegan_jax.main --config=configs/maps.py

Data: TFDS cycle_gan/maps (training set 1096 A / 1096 B, test set 1098 / 1098),
downloaded on first use. Cost: 200 epochs of 1096 steps = 219,200 steps at 256
pixels, batch 1; needs an accelerator. Settings: official code, with identity
loss (0.5 * lambda = 5). The paper uses no identity loss here:
--config.loss.identity_a=0 --config.loss.identity_b=0. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/maps'
  return config
