"""Facades <-> label maps.

    python -m cyclegan_jax.main --config=configs/facades.py

Data: TFDS cycle_gan/facades (training set 400 A / 400 B, test set 106 / 106),
downloaded on first use. Cost: 200 epochs of 400 steps = 80,000 steps at 256
pixels, batch 1; needs an accelerator. Settings: official code, with identity
loss (0.5 * lambda = 5). The paper uses no identity loss here:
--config.loss.identity_a=0 --config.loss.identity_b=0. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/facades'
  return config
