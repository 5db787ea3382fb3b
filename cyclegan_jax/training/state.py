"""All there is of a run at one step: what is saved is what is needed."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util
from jax import Array
from jaxtyping import Int32, PRNGKeyArray

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Params
from cyclegan_jax.methods.base import Images, Method
from cyclegan_jax.training import image_pool


class TrainState(struct.PyTreeNode):
  """The state of training, carried from step to step.

  Attributes:
    step: steps done, int32.
    params: {'gen': {'a2b', 'b2a'}, 'disc': {'a', 'b'}}, names by the method;
      'heads' and 'frozen' where it has them.
    opt_state: {'gen', 'disc'}, and 'heads'.
    pool: an `ImagePool` for each kind of sample the method makes; empty where
      the pool is off.
    key: the run's random key; step t uses fold_in(key, t).
    nonfinite: steps so far with NaN or infinity in a loss or a gradient, int32.
    ema: moving average of params['gen'], or None.
  """

  step: Int32[Array, '']
  params: Params
  opt_state: dict[str, optax.OptState]
  pool: dict[str, image_pool.ImagePool]
  key: PRNGKeyArray
  nonfinite: Int32[Array, '']
  ema: Params | None = None

  def translation_params(self) -> Params:
    """What to translate with: the averaged generators where there are any."""
    return {'gen': self.params['gen'] if self.ema is None else self.ema}


def create(
  method: Method,
  optimizers: Mapping[str, optax.GradientTransformation],
  key: PRNGKeyArray,
  batch: Mapping[str, Images],
  *,
  pool_size: int = 50,
  ema: bool = False,
) -> TrainState:
  """The state before the first step.

  Args:
    method: a `Method`.
    optimizers: {'gen', 'disc', 'heads'}, optax transformations; those of groups
      that the method does not have are not used.
    key: the seed as a raw key (`jax.random.PRNGKey`), which decides all.
    batch: {'a', 'b'}, images of the sizes to come.
    pool_size: fakes remembered of each kind; 0 switches the pool off.
    ema: whether to keep a moving average of the generators.
  """
  key_init, key_run = jax.random.split(key)
  params = method.init(key_init, batch)
  samples = {}
  if pool_size:
    _, (samples, _) = jax.eval_shape(
      method.generator_loss, params, batch, key_run
    )
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state={
      n: o.init(params[n]) for n, o in optimizers.items() if n in params
    },
    pool={
      n: image_pool.empty(pool_size, s.shape[1:]) for n, s in samples.items()
    },
    key=key_run,
    ema=jax.tree.map(jnp.copy, params['gen']) if ema else None,
    nonfinite=jnp.zeros((), jnp.int32),
  )


def with_params(state: TrainState, params: Params) -> TrainState:
  """A state that begins with other parameters.

  Args:
    state: a `TrainState`.
    params: {'gen': {name: params}, 'disc': {name: params}}, of some or all of
      its networks; leaves that its networks lack are left out.

  Raises:
    UserError: there are none, or they are those of other networks.
  """
  ours = traverse_util.flatten_dict(state.params)
  theirs = traverse_util.flatten_dict(params)
  networks = {path[:2] for path in theirs} & {path[:2] for path in ours}
  if not networks:
    raise UserError('init_from holds none of the networks of this config')
  for path, leaf in ours.items():
    if path[:2] in networks and (
      path not in theirs or theirs[path].shape != leaf.shape
    ):
      raise UserError(
        f'init_from: {"/".join(path)} is missing or of another shape than '
        f'{leaf.shape}: its networks are not those of this config'
      )
  params = traverse_util.unflatten_dict(
    {
      path: jnp.asarray(theirs[path] if path[:2] in networks else leaf)
      for path, leaf in ours.items()
    }
  )
  ema = None if state.ema is None else jax.tree.map(jnp.copy, params['gen'])
  return state.replace(params=params, ema=ema)
