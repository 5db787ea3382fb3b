"""Satellite pictures <-> topography maps: the built-in demo."""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'builtin'
  config.data.preprocess = 'crop'
  config.data.crop_size = 64
  config.generator.name = 'resnet'
  config.generator.depth = 3
  config.generator.width = 16
  config.generator.upsampling = 'resize'
  config.discriminator.width = 32
  config.loss.identity_a = config.loss.identity_b = 0.0
  config.schedule.unit = 'steps'
  config.schedule.constant = 3000
  config.schedule.decay = 3000
  return config
