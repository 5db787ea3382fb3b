"""Conversion between official state_dicts and networks with parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth import official
from cyclegan_jax.pth.find import find
from cyclegan_jax.pth.official import AVERAGES, FILTER, FILTERS, LEAVES

# (norms have weights, convolutions before norms have a bias) -> the norm.
_NORMS = {
  (False, True): 'instance',
  (True, True): 'instance_affine',
  (True, False): 'batch',
  (False, False): 'none',
}
_TABLES = {
  'generator': nets.GENERATORS,
  'discriminator': nets.DISCRIMINATORS,
}
# PyTorch's initial running averages, before the first batch.
_UNTRAINED = {
  'mean': lambda features: np.zeros(features, np.float32),
  'var': lambda features: np.ones(features, np.float32),
  'count': lambda features: np.zeros(2, np.float32),
}


class Network(NamedTuple):
  """An official network that was recognised from a state_dict.

  Attributes:
    kind: 'generator' or 'discriminator'.
    options: the options in the config's section of that name that the weights
      determine: name, depth, width, norm and, where they apply, downsampling,
      upsampling and dropout. Dropout is 0 for a U-Net, because its weights do
      not show the rate.
    in_channels: channels of the images the network takes.
    out_channels: channels of the images the network returns.
    params: parameters for `nets.apply`, float32. With batch norm they include
      the running averages, which norm='batch_frozen' uses and norm='batch'
      does not.
  """

  kind: str
  options: dict
  in_channels: int
  out_channels: int
  params: Any


def recognise(state_dict, file='the state_dict'):
  """Recognises the official network of a state_dict and converts its weights.

  Every entry of the state_dict must belong to the network. The only entries
  that are ignored are running averages of an instance norm without weights,
  which PyTorch saved in 2017 and never used.

  Args:
    state_dict: {name: array} of any floating type, as `read` returns it.
    file: the file of the weights, for messages.

  Returns:
    The options and parameters, as a `Network`.

  Raises:
    UserError: the state_dict is not of an official network; the message names
      the first weight that does not fit.
  """
  kind, options = find(state_dict, file)
  layers = official.layers(_build(kind, options)())
  width, inputs = _kernel_shape(state_dict, layers[0], file)[:2]
  last = _kernel_shape(state_dict, layers[-1], file)
  outputs = last[1] if layers[-1].kind == 'up' else last[0]
  options |= {'width': width, 'norm': _norm(state_dict, layers)}
  made = {'out_channels': outputs} if kind == 'generator' else {}
  net = _build(kind, options)(**made)
  layers, expected = official.layers(net), _shapes(net, inputs)
  state_dict = _without_filters(state_dict, layers, file)
  params = _params(state_dict, layers, expected, options['norm'], file)
  return Network(kind, options, inputs, outputs, params)


def export(kind, options, params):
  """Converts the parameters of a network to an official state_dict.

  Args:
    kind: 'generator' or 'discriminator'.
    options: options in the config's section of that name.
    params: parameters of the network.

  Returns:
    {name: array} in PyTorch's order. The arrays are contiguous and float32,
    except for the int64 counts of batches. If the parameters of a batch norm
    lack running averages, the state_dict gets PyTorch's initial averages; see
    `has_averages`.

  Raises:
    UserError: the official code has no such network, or the parameters do not
      fit the options.
  """
  net = _build(kind, options)()
  layers = official.layers(net)
  weights = {path: np.asarray(x) for path, x in flatten_dict(params).items()}
  _check_params(weights, layers, net)
  state = {}
  for layer, leaf in _leaves(layers):
    if layer.kind in FILTERS:
      state[f'{layer.name}.{leaf.name}'] = np.tile(
        FILTERS[layer.kind], (layer.features, 1, 1, 1)
      )
      continue
    weight = weights.get((*layer.path, leaf.path))
    if weight is None and leaf in AVERAGES and net.norm.startswith('batch'):
      scale = weights[(*layer.path, 'scale')]
      weight = _UNTRAINED[leaf.path](len(scale))
    if weight is not None:
      key = f'{layer.name}.{leaf.name}'
      state[key] = np.asarray(leaf.export(weight), order='C')
  return state


def has_averages(params):
  """Returns True if parameters include running averages of batch norm.

  Args:
    params: parameters of a network, nested dicts.
  """
  return any(path[-1] == 'mean' for path in flatten_dict(params))


def _build(kind, options):
  return nets.constructor(_TABLES[kind], what=kind, **options)


def _shapes(net, channels):
  """Returns {path: shape} of the parameters of a network.

  Args:
    net: the network, a Flax module.
    channels: channels of the images it takes.
  """
  side = 2 ** max(net.depth + 2, 4)
  images = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
  variables = jax.eval_shape(net.init, jax.random.key(0), images)
  return {
    path: x.shape for path, x in flatten_dict(variables['params']).items()
  }


def _leaves(layers):
  leaves = LEAVES | dict.fromkeys(FILTERS, (FILTER,))
  return [(layer, leaf) for layer in layers for leaf in leaves[layer.kind]]


def _without_filters(state_dict, layers, file):
  """Returns the state_dict without the fixed blur filters, which are checked.

  Raises:
    UserError: a filter is missing or differs from the filter of this code.
  """
  rest = dict(state_dict)
  for layer in layers:
    if layer.kind in FILTERS:
      key = f'{layer.name}.{FILTER.name}'
      found = rest.pop(key, None)
      expected = FILTERS[layer.kind]
      shape = (layer.features, 1, *expected.shape)
      if found is None:
        raise _misfit(file, key, 'is missing')
      if found.shape != shape:
        raise _misfit(file, key, f'has shape {found.shape}, not {shape}')
      if not np.allclose(found.astype(np.float32), expected, 0, 1e-3):
        raise _misfit(file, key, "differs from CUT's filter")
  return rest


def _check_params(weights, layers, net):
  """Raises `UserError` unless `weights` are exactly the weights of `net`."""
  places = {(*layer.path, leaf.path) for layer, leaf in _leaves(layers)}
  first, last = (
    weights.get((*layers[i].path, 'kernel'), np.zeros((1, 1, 1, 1)))
    for i in (0, -1)
  )
  if hasattr(net, 'out_channels'):
    net = net.clone(out_channels=last.shape[-1])
  expected = _shapes(net, first.shape[-2])
  wrong = [
    path for path in expected if np.shape(weights.get(path)) != expected[path]
  ]
  wrong += [path for path in weights if path not in places]
  if wrong:
    raise UserError(
      f'the weight {"/".join(wrong[0])} does not fit a {type(net).__name__} '
      'with these options: give the options that the weights were trained with'
    )


def _norm(names, layers):
  norm = next(i for i, layer in enumerate(layers) if layer.kind == 'norm')
  weights = f'{layers[norm].name}.weight' in names
  biases = f'{layers[norm - 1].name}.bias' in names
  return _NORMS[weights, biases]


def _kernel_shape(state_dict, layer, file):
  """Returns the shape of a layer's kernel in the state_dict.

  The shape is (outputs, inputs, height, width), or (inputs, outputs, height,
  width) for a layer of kind 'up'.
  """
  key = f'{layer.name}.weight'
  shape = np.shape(state_dict.get(key))
  if len(shape) != 4 or 0 in shape:
    raise _misfit(file, key, f'has shape {shape}, but must be a 4-D kernel')
  return shape


def _misfit(file, key, why):
  return UserError(f'{file}: {ascii(key[:80])} {why}')


def _params(state_dict, layers, expected, norm, file):
  """Converts the weights of a state_dict to parameters and checks each of them.

  Raises:
    UserError: a weight is missing, does not fit, or does not belong to the
      network.
  """
  rest, params = dict(state_dict), {}
  for layer, leaf in _leaves(layers):
    key, path = f'{layer.name}.{leaf.name}', (*layer.path, leaf.path)
    shape = expected.get(path)
    if leaf in AVERAGES:
      if norm == 'instance':
        rest.pop(key, None)
        continue
      # A norm with weights has one average per feature.
      shape = expected.get((*layer.path, 'scale'))
      shape = (2,) if leaf.dimensions == 0 and shape else shape
    if key in rest and shape:
      params[path] = _weight(rest.pop(key), leaf, shape, file, key)
    elif path in expected:
      raise _misfit(file, key, 'is missing')
  for key in rest:
    raise _misfit(file, key, 'does not belong to the network of the others')
  return unflatten_dict(params)


def _weight(array, leaf, shape, file, key):
  if array.ndim != leaf.dimensions:
    raise _misfit(file, key, f'has shape {array.shape}')
  if leaf.dimensions and not jnp.issubdtype(array.dtype, jnp.floating):
    raise _misfit(file, key, f'has type {array.dtype}, but must be floating')
  if leaf.dimensions:
    array = array.astype(np.float32)
  array = np.ascontiguousarray(leaf.load(array))
  if array.shape != shape:
    expected = leaf.export(np.empty(shape)).shape
    raise _misfit(
      file, key, f'has shape {leaf.export(array).shape}, not {expected}'
    )
  return array
