"""Choice of the reader that runs a network's layers on its platform."""

from cyclegan_jax.nets.forward import Forward
from cyclegan_jax.nets.forward_tpu import ForwardTPU

FORWARDS = {'tpu': ForwardTPU}


def forward(net, *args):
  """Makes the `Forward` that suits a network's platform.

  Args:
    net: the `Net`.
    *args: further arguments of `Forward`: train, axis, taps and only_taps.

  Returns:
    A `Forward`, or on a TPU a `ForwardTPU`.
  """
  return FORWARDS.get(net.target, Forward)(net, *args)
