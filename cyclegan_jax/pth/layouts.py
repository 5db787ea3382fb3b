"""From a state_dict to a network and its parameters, and back."""

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

# (whether norms have weights, convolutions before them a bias) -> the norm.
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
# What PyTorch takes an average for that no batch went into.
_UNTRAINED = {
  'mean': lambda features: np.zeros(features, np.float32),
  'var': lambda features: np.ones(features, np.float32),
  'count': lambda features: np.zeros(2, np.float32),
}


class Network(NamedTuple):
  """An official network.

  Attributes:
    kind: 'generator' or 'discriminator'.
    options: of the config's section of that name: name, depth, width, norm
      and, of a generator, dropout; the weights of a U-Net don't tell that, so
      it is 0 there.
    in_channels: of the pictures it takes.
    out_channels: of what it makes.
    params: for `nets.apply`, float32. With batch norm they have the running
      averages, too, which norm='batch_frozen' uses and norm='batch' does not.
  """

  kind: str
  options: dict
  in_channels: int
  out_channels: int
  params: Any


def recognise(state_dict, file='the state_dict'):
  """The network whose weights these are.

  What PyTorch in 2017 kept of batches for an instance norm without weights,
  and never used, is left out. Nothing else is.

  Args:
    state_dict: {name: array}, from `read`; any floating dtype.
    file: where it is from, for errors.

  Returns:
    A `Network`.

  Raises:
    UserError: it is none of the official networks; names the first weight
      that does not fit.
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
  """The official state_dict of a network.

  Args:
    kind: 'generator' or 'discriminator'.
    options: of the config's section of that name.
    params: the network's parameters.

  Returns:
    {name: array} in PyTorch's order, contiguous, float32 but for the counts of
    batches. Running averages that are not in the parameters of a batch norm are
    PyTorch's initial ones; see `has_averages`.

  Raises:
    UserError: the official code has no such network, or the parameters are
      those of another.
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
  """Whether a network's parameters have running averages of batch norm."""
  return any(path[-1] == 'mean' for path in flatten_dict(params))


def _build(kind, options):
  return nets.constructor(_TABLES[kind], what=kind, **options)


def _shapes(net, channels):
  """{path: shape} of a network's parameters."""
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
  """The state_dict without the filters that are no parameters.

  Raises:
    UserError: a filter that is missing, or another than this code's.
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
        raise _misfit(file, key, "is another filter than CUT's")
  return rest


def _check_params(weights, layers, net):
  """Raises `UserError` unless these are a network's weights, all of them."""
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
      f'the weight {"/".join(wrong[0])} is not what a {type(net).__name__} of '
      'these options has: give the options it was made with'
    )


def _norm(names, layers):
  norm = next(i for i, layer in enumerate(layers) if layer.kind == 'norm')
  weights = f'{layers[norm].name}.weight' in names
  biases = f'{layers[norm - 1].name}.bias' in names
  return _NORMS[weights, biases]


def _kernel_shape(state_dict, layer, file):
  """(outputs, inputs, height, width) of a layer, or as 'up' has them."""
  key = f'{layer.name}.weight'
  shape = np.shape(state_dict.get(key))
  if len(shape) != 4 or 0 in shape:
    raise _misfit(file, key, f'has shape {shape}, and a kernel is expected')
  return shape


def _misfit(file, key, why):
  return UserError(f'{file}: {ascii(key[:80])} {why}')


def _params(state_dict, layers, expected, norm, file):
  """The parameters, after every weight was found to fit."""
  rest, params = dict(state_dict), {}
  for layer, leaf in _leaves(layers):
    key, path = f'{layer.name}.{leaf.name}', (*layer.path, leaf.path)
    shape = expected.get(path)
    if leaf in AVERAGES:
      if norm == 'instance':
        rest.pop(key, None)
        continue
      # Of one average a feature, where there are weights to go with them.
      shape = expected.get((*layer.path, 'scale'))
      shape = (2,) if leaf.dimensions == 0 and shape else shape
    if key in rest and shape:
      params[path] = _weight(rest.pop(key), leaf, shape, file, key)
    elif path in expected:
      raise _misfit(file, key, 'is missing')
  for key in rest:
    raise _misfit(file, key, 'has no place in the network the others are of')
  return unflatten_dict(params)


def _weight(array, leaf, shape, file, key):
  if array.ndim != leaf.dimensions:
    raise _misfit(file, key, f'has shape {array.shape}')
  if leaf.dimensions and not jnp.issubdtype(array.dtype, jnp.floating):
    raise _misfit(file, key, f'is of {array.dtype}: weights are floating')
  if leaf.dimensions:
    array = array.astype(np.float32)
  array = np.ascontiguousarray(leaf.load(array))
  if array.shape != shape:
    expected = leaf.export(np.empty(shape)).shape
    raise _misfit(
      file, key, f'has shape {leaf.export(array).shape}, not {expected}'
    )
  return array
