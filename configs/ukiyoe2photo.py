"""Ukiyo-e prints <-> photographs.

    python -m cyclegan_jax.main --config=configs/ukiyoe2photo.py

Data: TFDS cycle_gan/ukiyoe2photo (train 562/6287, test 263/751), downloaded on
first use. Cost: 200 epochs of 6287 steps = 1,257,400 steps at 256 px, batch 1:
a job for an accelerator. Settings: the paper's, identity loss included (Sec.
5.2: 0.5 * lambda). Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.name = 'cycle_gan/ukiyoe2photo'
  return config
