"""pix2pix with its own paper's networks, on true pairs: facades.

    python -m cyclegan_jax.main --config=configs/facades_pix2pix.py \
      --config.data.root=datasets/facades

Data: pairs side by side (the official pix2pix sets: data.source=aligned, A is
the left half) or the official CycleGAN folders with pairs by name (folder).
Settings: U-Net 256, batch norm, dropout, vanilla GAN, lambda_L1 100, no image
pool, batch 1 (Isola et al. 2017, Sec. 6). One direction; leave `directions` at
'both' to train the other one as well. Not measured here yet.
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
