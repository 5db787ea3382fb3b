"""Feature loss + GAN: SimGAN with its L1 loss on features of VGG-16.

A variant of SimGAN in the CycleGAN paper (Sec. 5.1.1), with the layer relu4_2.
"""

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1
from cyclegan_jax.pretrained import networks
from cyclegan_jax.pretrained import weights as pretrained

_LAST = 'conv4_2'


def _relu4_2(params, images):
  """Returns the relu4_2 features of VGG-16 of images in [-1, 1]."""
  return networks.vgg16(params, images, until='relu4_2')['relu4_2']


def _until_relu4_2():
  """Returns the weights of VGG-16 up to relu4_2; checkpoints hold no others."""
  layers = list(networks.VGG16.convs)
  trunk = pretrained.vgg16()['trunk']
  return {name: trunk[name] for name in layers[: layers.index(_LAST) + 1]}


def feature(choices, network=_relu4_2, load=_until_relu4_2):
  """Makes feature loss + GAN as the CycleGAN paper compares it (Sec. 5.1.1).

  The loss is an adversarial loss plus the mean absolute difference between the
  features of an image x and of its translation G(x).

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial, feature,
      discriminator, gradient_penalty.
    network: (params, images) -> features, for gray and RGB images in [-1, 1].
    load: () -> params of `network`, called by `Method.init`.

  Returns:
    A `Method`.

  Raises:
    UserError: the images of a domain are neither gray nor RGB.
  """
  for domain, count in choices.channels.items():
    if count not in (1, 3):
      raise UserError(
        f"data.channels_{domain}={count}: method='feature' needs VGG-16, "
        'which takes 1 (gray) or 3 (RGB) channels: use another method'
      )

  def distance(frozen, x, y, fake):
    del y
    params = frozen['features']
    return l1(network(params, fake), network(params, x))

  return one_way.one_way(
    choices,
    term='feature',
    distance=distance,
    frozen=lambda: {'features': load()},
  )


ENTRY = Entry(feature, (*one_way.OPTIONS, 'loss.feature'))
