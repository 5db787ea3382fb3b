"""pix2pix (Isola et al., CVPR 2017): a conditional GAN on true pairs."""

from cyclegan_jax.methods import common, one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1


def pix2pix(choices):
  """A translator a direction, with its own discriminator of pairs (Eq. 4).

  The discriminator sees the input beside the output. The paper's own networks
  and settings are options: U-Net, batch norm, dropout, the vanilla loss, no
  image pool (configs/facades_pix2pix.py); the defaults make it the variant
  with CycleGAN's.

  Args:
    choices: `Choices`; uses the weights adversarial, l1 (the paper's lambda,
      100), discriminator, gradient_penalty.
  """
  return one_way.one_way(
    choices,
    term='l1',
    distance=lambda frozen, x, y, fake: l1(fake, y),
    sees=common.join,
    paired=True,
  )


ENTRY = Entry(pix2pix, (*one_way.OPTIONS, 'loss.l1'))
