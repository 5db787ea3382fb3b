"""Horses <-> zebras by DCLGAN, as in its paper (Han et al., 2021).

    python -m cyclegan_jax.main --config=configs/horse2zebra_dclgan.py

Data: TFDS cycle_gan/horse2zebra. Cost: 400 epochs of 1334 steps = 533,600 steps
at 256 pixels, batch 1; needs an accelerator. Settings: antialiased networks,
Xavier init, no image pool; lambda_GAN 1, lambda_NCE 2, lambda_IDT 1, all halved
over the two directions. Adam of the heads: PyTorch's defaults. Epochs and lsgan
are CUT's, as versions of DCLGAN's code differ. Published FID: 43.2 (best
checkpoint). Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.method = 'dclgan'
  config.data.name = 'cycle_gan/horse2zebra'
  config.data.load_size_in_decay = config.data.crop_size
  config.generator.update(
    downsampling='blur', upsampling='blur', init_type='xavier'
  )
  config.discriminator.update(downsampling='blur', init_type='xavier')
  config.loss.update(adversarial=0.5, nce=1.0, identity_a=0.5, identity_b=0.5)
  config.optim.update(lr_heads=1e-3, beta1_heads=0.9)
  config.pool_size = 0
  config.schedule.update(constant=200, decay=200)
  return config
