"""Horses <-> zebras by DCLGAN, as its paper has it (Han et al., 2021).

    python -m cyclegan_jax.main --config=configs/horse2zebra_dclgan.py

Data: TFDS cycle_gan/horse2zebra. Cost: 400 epochs of 1334 steps = 533,600 steps
at 256 px, batch 1: a job for an accelerator. Settings: antialiased networks,
Xavier init, no image pool; all terms are halved over the two directions:
lambda_GAN 1, lambda_NCE 2, lambda_IDT 1. The projection heads have PyTorch's
own Adam, 1e-3 and 0.9. Epochs and adversarial loss (lsgan) are CUT's: the
public code of DCLGAN has had several. Published FID: 43.2, of the best
checkpoint. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.method = 'dclgan'
  config.data.name = 'cycle_gan/horse2zebra'
  config.data.load_size_in_decay = config.data.crop_size
  config.generator.downsampling = 'blur'
  config.generator.upsampling = 'blur'
  config.discriminator.downsampling = 'blur'
  config.generator.init_type = 'xavier'
  config.discriminator.init_type = 'xavier'
  config.loss.adversarial = 0.5
  config.loss.nce = 1.0
  config.loss.identity_a = 0.5
  config.loss.identity_b = 0.5
  config.optim.lr_heads = 1e-3
  config.optim.beta1_heads = 0.9
  config.pool_size = 0
  config.schedule.constant = 200
  config.schedule.decay = 200
  return config
