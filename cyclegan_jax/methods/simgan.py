"""SimGAN (Shrivastava et al., CVPR 2017): a GAN that stays near its input."""

from cyclegan_jax.methods import one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1


def simgan(choices):
  """Makes SimGAN as the CycleGAN paper compares it (Sec. 5.1.1).

  The loss is an adversarial loss plus the mean absolute difference between an
  image x and its translation G(x). If one of them is gray and the other RGB,
  the gray image is compared with each RGB channel.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial,
      self_regularization, discriminator, gradient_penalty.

  Returns:
    A `Method`, with a generator and a discriminator per direction.
  """
  return one_way.one_way(
    choices,
    term='self_regularization',
    distance=lambda frozen, x, y, fake: l1(fake, x),
  )


ENTRY = Entry(simgan, (*one_way.OPTIONS, 'loss.self_regularization'))
