"""T1 slices of a brain <-> maps of gray and white matter: NIfTI volumes.

    python -m cyclegan_jax.main --config=configs/t1_to_tissue.py

Needs: pip install -e '.[medical]'. Data: parts of MNI152, one average brain; A
is T1, B has 2 channels, gray and white matter. Cost: 2100 steps, 8 minutes on 2
CPU cores. Result on 18 slices: L1 a2b 0.200, b2a 0.097 (docs/other_data.md).
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'mni152'
  config.data.channels_a = 1
  config.data.channels_b = 2
  config.data.preprocess = 'scale_width_and_crop'
  config.data.load_size = 104
  config.data.crop_size = 96
  config.generator.name = 'resnet'
  config.generator.depth = 3
  config.generator.width = 16
  config.generator.upsampling = 'resize'
  config.discriminator.width = 32
  config.loss.identity_a = config.loss.identity_b = 0.0
  config.schedule.update(unit='steps', constant=1300, decay=800)
  config.train.ema_decay = 0.995
  config.log.sample_every = 500
  return config
