"""pix2pix (Isola et al., CVPR 2017): a conditional GAN for true pairs."""

from cyclegan_jax.methods import common, one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1


def pix2pix(choices):
  """Makes pix2pix: a conditional GAN with an L1 loss (Isola et al., Eq. 4).

  The discriminator sees the input and the output, joined along the channels.
  With the default options, pix2pix has the networks and settings of CycleGAN,
  as in the CycleGAN paper's comparison. The recipe card
  configs/facades_pix2pix.py sets those of the pix2pix paper: U-Net, batch norm,
  dropout, vanilla loss, no image pool.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial, l1 (the
      paper's lambda, 100), discriminator, gradient_penalty.

  Returns:
    A `Method`, with a generator and a discriminator per direction.
  """
  return one_way.one_way(
    choices,
    term='l1',
    distance=lambda frozen, x, y, fake: l1(fake, y),
    sees=common.join,
    paired=True,
  )


ENTRY = Entry(pix2pix, (*one_way.OPTIONS, 'loss.l1'))
