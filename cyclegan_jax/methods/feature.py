"""Feature loss + GAN: SimGAN that stays close in VGG-16's features.

The variant of SimGAN in CycleGAN's paper (Sec. 5.1.1), with relu4_2 as there.
"""

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1
from cyclegan_jax.pretrained import networks
from cyclegan_jax.pretrained import weights as pretrained

_LAST = 'conv4_2'


def _relu4_2(params, images):
  return networks.vgg16(params, images, until='relu4_2')['relu4_2']


def _until_relu4_2():
  """The weights that it takes, the only ones a checkpoint holds."""
  layers = list(networks.VGG16.convs)
  trunk = pretrained.vgg16()['trunk']
  return {name: trunk[name] for name in layers[: layers.index(_LAST) + 1]}


def feature(choices, network=_relu4_2, load=_until_relu4_2):
  """An adversarial loss and the L1 between features of x and G(x).

  Args:
    choices: `Choices`; uses the weights adversarial, feature, discriminator,
      gradient_penalty.
    network: (params, images) -> features, of gray and of RGB images.
    load: () -> params, called where training begins.

  Raises:
    UserError: a domain that is neither gray nor RGB.
  """
  for domain, count in choices.channels.items():
    if count not in (1, 3):
      raise UserError(
        f"data.channels_{domain}={count}: method='feature' compares by VGG-16, "
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
