"""Ukiyo-e prints <-> photographs.

    python -m cyclegan_jax.main --config=configs/ukiyoe2photo.py

Data: TFDS cycle_gan/ukiyoe2photo (training set 562 A / 6287 B, test set 263 /
751), downloaded on first use. Cost: 200 epochs of 6287 steps = 1,257,400 steps
at 256 pixels, batch 1; needs an accelerator. Settings: paper, with identity
loss (Sec. 5.2: 0.5 * lambda = 5). Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/ukiyoe2photo'
  return config
