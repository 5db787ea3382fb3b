"""Convolutions in the form that is fastest on each platform."""

from functools import partial

import numpy as np
from jax import lax

from cyclegan_jax.nets.conv import cpu, gpu, tpu, winograd
from cyclegan_jax.nets.conv.plain import Geometry, plain, product


def convolution(platform):
  """The convolution for a platform, to be called as Flax's layers do."""
  form = FORMS.get(platform, plain)

  def convolve(x, kernel, strides, padding, *, lhs_dilation, **options):
    del options  # no groups, no kernel dilation here
    return form(x, kernel, Geometry(strides[0], padding[0], lhs_dilation[0]))

  return convolve


def loops(platform, x):
  """Whether 3x3 convolutions of x, to as many channels, may stand in a loop.

  XLA compiles a convolution within a loop to naive code on the CPU; Winograd's
  form has none. On a GPU a step with a loop took 64 ms, without one 53 ms. On a
  TPU a loop costs nothing and compiles once.
  """
  if platform in (ANY, 'gpu'):
    return False
  kernel = (3, 3, x.shape[-1], x.shape[-1])
  return platform != 'cpu' or winograd.suits(x.shape, kernel)


def in_loop(platform):
  """The platform to choose forms for, of a network that runs in a loop.

  At 64 px a step of CoGAN's search took 0.5 s in XLA's naive code, and 0.015 s
  in matrix products, on a core of a CPU.
  """
  return CPU_LOOP if platform == 'cpu' else platform


def reads_kernels(shape):
  """Whether 3x3 convolutions of the shape mostly read their kernels.

  Then a CPU gains from a larger batch: Winograd's form with few tiles.
  """
  kernel = (3, 3, shape[-1], shape[-1])
  return winograd.suits(shape, kernel) and np.prod(shape[:3]) <= 2048


def _any(x, kernel, geometry):
  # Without Winograd's form, which rounds more.
  return lax.platform_dependent(
    x,
    kernel,
    cpu=partial(cpu.one_row_more, geometry=geometry),
    default=partial(plain, geometry=geometry),
  )


# For programs to export, of any size: chosen by the platform they meet.
ANY = 'any'
# For what runs in a loop on a CPU.
CPU_LOOP = 'cpu loop'
FORMS = {
  'cpu': cpu.convolve,
  'gpu': gpu.convolve,
  'tpu': tpu.convolve,
  ANY: _any,
  CPU_LOOP: product,
}
