"""T1 pictures of a brain <-> gray and white matter: NIfTI volumes.

    python -m cyclegan_jax.main --config=configs/t1_to_tissue.py

Needs: pip install 'cyclegan_jax[medical]'. Data: slabs of the MNI152 brain (one
average brain). A: T1; B: two channels, gray and white matter.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'mni152'
  config.data.channels_a = 1
  config.data.channels_b = 2
  config.data.preprocess = 'crop'
  config.data.crop_size = 96
  config.generator.name = 'resnet'
  config.generator.depth = 3
  config.generator.width = 16
  config.generator.upsampling = 'resize'
  config.discriminator.depth = 2
  config.discriminator.width = 32
  config.loss.identity_a = 0.0
  config.loss.identity_b = 0.0
  config.schedule.unit = 'steps'
  config.schedule.constant = 1000
  config.schedule.decay = 500
  config.train.ema_decay = 0.995
  config.log.sample_every = 500
  return config
