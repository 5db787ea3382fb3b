"""Horses -> zebras by FastCUT, as its paper has it (Park et al., ECCV 2020).

    python -m cyclegan_jax.main --config=configs/horse2zebra_fastcut.py

Data: TFDS cycle_gan/horse2zebra. Cost: 200 epochs of 1334 steps = 266,800 steps
at 256 px, batch 1: a job for an accelerator. Settings: those of
configs/horse2zebra_cut.py, but PatchNCE of the translation alone at lambda_NCE
10 and 150 + 50 epochs. If it stays with its input (adversarial loss near 1),
use --config.loss.nce=1. Published FID: 73.4. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.method = 'fastcut'
  config.directions = 'a2b'
  config.data.name = 'cycle_gan/horse2zebra'
  config.data.load_size_in_decay = config.data.crop_size
  config.generator.update(
    downsampling='blur', upsampling='blur', init_type='xavier'
  )
  config.discriminator.update(downsampling='blur', init_type='xavier')
  config.loss.nce = 10.0
  config.pool_size = 0
  config.schedule.constant = 150
  config.schedule.decay = 50
  return config
