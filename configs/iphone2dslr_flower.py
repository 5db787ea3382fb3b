"""Flowers photographed by a phone <-> by a DSLR camera.

    python -m cyclegan_jax.main --config=configs/iphone2dslr_flower.py

Data: TFDS cycle_gan/iphone2dslr_flower (training set 1812 A / 3325 B, test set
569 / 480), downloaded on first use. Cost: 200 epochs of 3325 steps = 665,000
steps at 256 pixels, batch 1; needs an accelerator. Settings: official code,
with identity loss (0.5 * lambda = 5). The paper uses no identity loss here:
--config.loss.identity_a=0 --config.loss.identity_b=0. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/iphone2dslr_flower'
  return config
