"""SimGAN (Shrivastava et al., CVPR 2017): stay close to the input."""

from cyclegan_jax.methods import one_way
from cyclegan_jax.methods.base import Entry
from cyclegan_jax.methods.losses import l1


def simgan(choices):
  """An adversarial loss and |x - G(x)|, as CycleGAN's paper compares it.

  Gray pictures are compared with RGB ones as if they were RGB.

  Args:
    choices: `Choices`; uses the weights adversarial, self_regularization,
      discriminator, gradient_penalty.
  """
  return one_way.one_way(
    choices,
    term='self_regularization',
    distance=lambda frozen, x, y, fake: l1(fake, x),
  )


ENTRY = Entry(simgan, (*one_way.OPTIONS, 'loss.self_regularization'))
