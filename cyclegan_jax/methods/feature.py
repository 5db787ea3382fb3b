"""Feature loss + GAN: SimGAN that stays close in VGG-16's features.

The variant of SimGAN in CycleGAN's paper (Sec. 5.1.1), with relu4_2 as there.
"""

import jax.numpy as jnp

from cyclegan_jax.losses import l1
from cyclegan_jax.methods import parts

_LAYER = 'relu4_2'


def _vgg16(params, images):
  from cyclegan_jax.metrics import backbones

  return backbones.vgg16(params, images, until=_LAYER)[_LAYER]


def _until_layer():
  """VGG-16's weights up to the layer, the only ones a checkpoint holds."""
  from cyclegan_jax.metrics import backbones
  from cyclegan_jax.metrics import weights as pretrained

  return backbones.until(pretrained.vgg16()['trunk'], _LAYER)


def feature(choices, network=_vgg16, load=_until_layer):
  """An adversarial loss and the L1 between features of x and G(x).

  Args:
    choices: `Choices`; uses the weights adversarial, feature, discriminator,
      gradient_penalty.
    network: (params, images) -> features.
    load: () -> params, called where training begins.
  """

  def distance(frozen, x, y, fake):
    del y
    seen = [network(frozen['features'], _rgb(images)) for images in (x, fake)]
    return l1(*seen)

  return parts.one_way(
    choices,
    term='feature',
    distance=distance,
    frozen=lambda: {'features': load()},
  )


def _rgb(images):
  return jnp.broadcast_to(images, (*images.shape[:-1], 3))
