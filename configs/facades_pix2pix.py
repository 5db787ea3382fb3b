"""Facades by pix2pix, with the networks of its paper, on true pairs.

    python -m cyclegan_jax.main --config=configs/facades_pix2pix.py \
      --config.data.root=datasets/facades

Data: the official pix2pix dataset, where each file shows A in the left half and
B in the right half (data.source=aligned). For the official CycleGAN folders,
use --config.data.source=folder: true pairs have equal names. Settings: U-Net
256, batch norm, dropout, vanilla GAN, lambda_L1 100, no image pool, batch 1
(Isola et al. 2017, Sec. 6). Only b2a is trained; --config.directions=both
trains a2b as well. Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.method = 'pix2pix'
  config.directions = 'b2a'
  config.data.source = 'aligned'
  config.generator.name = 'unet_256'
  config.generator.norm = 'batch'
  config.generator.dropout = 0.5
  config.discriminator.norm = 'batch'
  config.loss.adversarial_loss = 'vanilla'
  config.pool_size = 0
  return config
