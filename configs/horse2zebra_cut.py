"""Horses -> zebras by CUT, as in its paper (Park et al., ECCV 2020).

    python -m cyclegan_jax.main --config=configs/horse2zebra_cut.py

Data: TFDS cycle_gan/horse2zebra. Cost: 400 epochs of 1334 steps = 533,600 steps
at 256 pixels, batch 1; needs an accelerator. Settings: antialiased networks,
Xavier init, no image pool, lambda_NCE 1 (half of it for PatchNCE of A, half for
B), no random crop while the learning rate decays. --config.directions=both also
trains b2a, with its own networks. Published FID: 45.5 (best checkpoint).
Result: not measured yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.method = 'cut'
  config.directions = 'a2b'
  config.data.name = 'cycle_gan/horse2zebra'
  config.data.load_size_in_decay = config.data.crop_size
  config.generator.update(
    downsampling='blur', upsampling='blur', init_type='xavier'
  )
  config.discriminator.update(downsampling='blur', init_type='xavier')
  config.pool_size = 0
  config.schedule.constant = 200
  config.schedule.decay = 200
  return config
