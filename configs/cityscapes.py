r"""Cityscapes: photographs <-> label maps, from a folder.

    python -m cyclegan_jax.main --config=configs/cityscapes.py \
      --config.data.root=FOLDER

Data: FOLDER has trainA, testA (photographs) and trainB, testB (label maps as
colours), with 2975 training and 500 test pictures of each domain, prepared by
the script of the official code. Cost: 200 epochs of 2975 steps = 595,000 steps
at 128 pixels, batch 1; needs an accelerator. Settings: the paper's comparison
(Sec. 5.1) with 128 pixels, 6 residual blocks and no identity loss. Published
FCN scores (pixel / class / IoU): labels->photo .52 / .17 / .11, photo->labels
.58 / .22 / .16. Result: not measured yet.
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
