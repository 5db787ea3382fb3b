"""The reader that runs a network on its platform."""

from cyclegan_jax.nets.forward import Forward
from cyclegan_jax.nets.forward_tpu import ForwardTPU

FORWARDS = {'tpu': ForwardTPU}


def forward(net, *args):
  """The `Forward` for a network's platform.

  Args:
    net: the network.
    *args: of `Forward`.
  """
  return FORWARDS.get(net.target, Forward)(net, *args)
