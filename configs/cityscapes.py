r"""Cityscapes: photographs <-> label maps, from a folder.

    python -m cyclegan_jax.main --config=configs/cityscapes.py \
      --config.data.root=FOLDER

FOLDER holds trainA, testA (photographs) and trainB, testB (label pictures),
2975 and 500 of each, prepared with the official code's script. Cost: 200 epochs
of 2975 steps = 595,000 steps at 128 px, batch 1: a job for an accelerator.
Settings: the paper's comparison (Sec. 5.1): 128 px, 6 blocks, no identity loss.
Published FCN scores (pixel/class/IoU): labels->photo .52/.17/.11,
photo->labels .58/.22/.16. Not measured here yet.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'folder'
  config.data.load_size = 143
  config.data.crop_size = 128
  config.generator.name = 'resnet_6blocks'
  config.loss.identity_a = config.loss.identity_b = 0.0
  return config
