"""Choice of the form of a convolution that is fastest on a platform."""

from functools import partial

import numpy as np
from jax import lax

from cyclegan_jax.nets.conv import cpu, gpu, tpu, winograd
from cyclegan_jax.nets.conv.plain import Geometry, plain, product


def convolution(platform):
  """Returns the convolution of a platform, for use in Flax's layers.

  Args:
    platform: a key of `FORMS`; any other name gives XLA's convolution.

  Returns:
    A function with the arguments of `lax.conv_general_dilated`, as the argument
    `conv_general_dilated` of `nn.Conv` needs. Groups and kernel dilation are
    not supported.
  """
  form = FORMS.get(platform, plain)

  def convolve(x, kernel, strides, padding, *, lhs_dilation, **options):
    del options  # groups and kernel dilation are never used
    return form(x, kernel, Geometry(strides[0], padding[0], lhs_dilation[0]))

  return convolve


def loops(platform, x):
  """Returns True if 3x3 convolutions are as fast in a loop as without one.

  On a CPU, XLA compiles a convolution in a loop to naive code, unless
  Winograd's form, which has no convolution, is used. On a GPU a step took 64 ms
  with a loop and 53 ms without. On a TPU a loop costs no time and compiles only
  once.

  Args:
    platform: a key of `FORMS`.
    x: the input [batch, height, width, channels]; the output has equally many
      channels.
  """
  if platform in (ANY, 'gpu'):
    return False
  kernel = (3, 3, x.shape[-1], x.shape[-1])
  return platform != 'cpu' or winograd.suits(x.shape, kernel)


def in_loop(platform):
  """Returns the platform name to use for a network that runs in a loop.

  On a CPU, XLA's code for a convolution in a loop is naive: at 64 px, a step of
  CoGAN's search took 0.5 s on one core, and 0.015 s as matrix products.

  Args:
    platform: 'cpu', 'gpu' or 'tpu'.

  Returns:
    A key of `FORMS`: `CPU_LOOP` for 'cpu', else the platform itself.
  """
  return CPU_LOOP if platform == 'cpu' else platform


def reads_kernels(shape):
  """Returns True if reading the kernels dominates 3x3 convolutions on a CPU.

  This is the case in Winograd's form with few tiles. A larger batch is then
  more efficient.

  Args:
    shape: shape of the input, (batch, height, width, channels).
  """
  kernel = (3, 3, shape[-1], shape[-1])
  return winograd.suits(shape, kernel) and np.prod(shape[:3]) <= 2048


def _any(x, kernel, geometry):
  """Computes `plain`; the form is chosen by the platform at run time."""
  # Winograd's form is not used: its rounding errors are larger.
  return lax.platform_dependent(
    x,
    kernel,
    cpu=partial(cpu.one_row_more, geometry=geometry),
    default=partial(plain, geometry=geometry),
  )


# Platform name for exported programs, which run on any platform.
ANY = 'any'
# Platform name for networks that run in a loop on a CPU.
CPU_LOOP = 'cpu loop'
FORMS = {
  'cpu': cpu.convolve,
  'gpu': gpu.convolve,
  'tpu': tpu.convolve,
  ANY: _any,
  CPU_LOOP: product,
}
