"""The complete state of a run at one step, which checkpoints save."""

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
  """The state that a step takes and returns, an immutable pytree.

  Attributes:
    step: number of steps done, int32.
    params: {group: {name: params}}, for example {'gen': {'a2b', 'b2a'}, 'disc':
      {'a', 'b'}}. The method chooses the names, and can have the groups 'heads'
      and 'frozen' too.
    opt_state: {group: state of its optimizer} of 'gen', 'disc' and 'heads'.
    pool: {name: `ImagePool`} for each kind of sample of the method; {} if the
      run uses no pool.
    key: random key of the run; the step after t steps uses fold_in(key, t).
    nonfinite: number of steps so far that gave NaN or infinity in a loss or a
      gradient, int32.
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
    """Returns {'gen': params} to translate with.

    These are the moving average of the generators' weights if the state holds
    one, and else the current weights.
    """
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
  """Creates the state before the first step, with random parameters.

  Args:
    method: the `Method`: networks and losses.
    optimizers: {'gen', 'disc', 'heads'}, optax transformations. Groups that the
      method lacks are ignored.
    key: a raw random key (`jax.random.PRNGKey`), the only source of randomness
      of the parameters and of the run.
    batch: {'a': images, 'b': images}, of the sizes that the networks will see.
    pool_size: number of images in each image pool; 0 for no pool.
    ema: whether to keep a moving average of the generators' weights.
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
  """Returns a state with the parameters of some networks replaced.

  The moving average, if the state keeps one, starts at the new parameters.

  Args:
    state: a `TrainState`.
    params: {'gen': {name: params}, 'disc': {name: params}} of some or all
      networks of the state. Parameters that a network of the state lacks are
      ignored.

  Raises:
    UserError: `params` has no network of the state, or a parameter of such a
      network is missing or has another shape.
  """
  ours = traverse_util.flatten_dict(state.params)
  theirs = traverse_util.flatten_dict(params)
  networks = {path[:2] for path in theirs} & {path[:2] for path in ours}
  if not networks:
    raise UserError('init_from: holds none of the networks of this config')
  for path, leaf in ours.items():
    if path[:2] in networks and (
      path not in theirs or theirs[path].shape != leaf.shape
    ):
      raise UserError(
        f'init_from: {"/".join(path)} is missing or does not have the shape '
        f'{leaf.shape}: use a model with the networks of this config'
      )
  params = traverse_util.unflatten_dict(
    {
      path: jnp.asarray(theirs[path] if path[:2] in networks else leaf)
      for path, leaf in ours.items()
    }
  )
  ema = None if state.ema is None else jax.tree.map(jnp.copy, params['gen'])
  return state.replace(params=params, ema=ema)
