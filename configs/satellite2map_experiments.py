"""Built-in demo with about half of its steps, for the paper's experiments.

    python -m cyclegan_jax.experiments --suite=all --seeds=3 \
      --config=configs/satellite2map_experiments.py

Data and networks: as in configs/satellite2map.py. Cost and results of the runs
on two CPU cores: docs/results/README.md.
"""

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
  config.discriminator.depth = 2
  config.discriminator.width = 32
  config.schedule.unit = 'steps'
  config.schedule.constant = 1000
  config.schedule.decay = 600
  config.train.ema_decay = 0.995
  config.log.sample_every = 0
  return config
