"""Horses -> zebras by FastCUT, as in its paper (Park et al., ECCV 2020).

    python -m cyclegan_jax.main --config=configs/horse2zebra_fastcut.py

Data: TFDS cycle_gan/horse2zebra. Cost: 200 epochs of 1334 steps = 266,800 steps
at 256 pixels, batch 1; needs an accelerator. Settings: as in
configs/horse2zebra_cut.py, except that PatchNCE is only between A and its
translation, lambda_NCE is 10, and training takes 150 + 50 epochs. If the
generator copies its input (adversarial loss near 1), use --config.loss.nce=1.
Published FID: 73.4. Result: not measured yet.
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
