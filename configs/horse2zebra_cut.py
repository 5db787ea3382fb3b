"""Horses -> zebras by CUT, as its paper has it (Park et al., ECCV 2020).

    python -m cyclegan_jax.main --config=configs/horse2zebra_cut.py

Data: TFDS cycle_gan/horse2zebra. Cost: 400 epochs of 1334 steps = 533,600 steps
at 256 px, batch 1: a job for an accelerator. Settings: antialiased networks,
Xavier init, no image pool, PatchNCE of both kinds at lambda_NCE 1 (half each),
no random crops while the learning rate decays. One direction; `directions=both`
trains the other one as well, with networks of its own. Published FID: 45.5, of
the best checkpoint. Not measured here yet.
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
