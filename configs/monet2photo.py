"""Monet paintings <-> photographs.

    python -m cyclegan_jax.main --config=configs/monet2photo.py

Data: TFDS cycle_gan/monet2photo (train 1072/6287, test 121/751), downloaded on
first use. Cost: 200 epochs of 6287 steps = 1,257,400 steps at 256 px, batch 1:
a job for an accelerator. Settings: the paper's, identity loss included (Sec.
5.2: 0.5 * lambda). Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/monet2photo'
  return config
