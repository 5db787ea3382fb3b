"""Monet paintings <-> photographs.

    python -m cyclegan_jax.main --config=configs/monet2photo.py

Data: TFDS cycle_gan/monet2photo (training set 1072 A / 6287 B, test set 121 /
751), downloaded on first use. Cost: 200 epochs of 6287 steps = 1,257,400 steps
at 256 pixels, batch 1; needs an accelerator. Settings: paper, with identity
loss (Sec. 5.2: 0.5 * lambda = 5). Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/monet2photo'
  return config
