"""All there is of a run at one step: what is saved is what is needed."""

import jax
import jax.numpy as jnp
from flax import struct

from cyclegan_jax import image_pool


class TrainState(struct.PyTreeNode):
  """The state of training, carried from step to step.

  Attributes:
    step: steps done, int32.
    params: {'gen': {'a2b', 'b2a'}, 'disc': {'a', 'b'}}, names by the method.
    opt_state: {'gen', 'disc'}.
    pool: an `ImagePool` for each kind of sample the method makes.
    key: the run's random key; step t uses fold_in(key, t).
    nonfinite: steps so far with NaN or infinity in a loss or a gradient, int32.
    ema: moving average of params['gen'], or None.
  """

  step: jax.Array
  params: dict
  opt_state: dict
  pool: dict
  key: jax.Array
  nonfinite: jax.Array
  ema: dict | None = None

  def translation_params(self):
    """What to translate with: the averaged generators where there are any."""
    return {'gen': self.params['gen'] if self.ema is None else self.ema}


def create(method, optimizers, key, batch, *, pool_size=50, ema=False):
  """The state before the first step.

  Args:
    method: a `Method`.
    optimizers: {'gen', 'disc'}, optax transformations.
    key: the seed as a raw key (`jax.random.PRNGKey`), which decides all.
    batch: {'a', 'b'}, images of the sizes to come.
    pool_size: fakes remembered of each kind; 0 switches the pool off.
    ema: whether to keep a moving average of the generators.
  """
  key_init, key_run = jax.random.split(key)
  params = method.init(key_init, batch)
  _, (samples, _) = jax.eval_shape(
    method.generator_loss, params, batch, key_run
  )
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state={n: o.init(params[n]) for n, o in optimizers.items()},
    pool={
      n: image_pool.empty(pool_size, s.shape[1:]) for n, s in samples.items()
    },
    key=key_run,
    ema=jax.tree.map(jnp.copy, params['gen']) if ema else None,
    nonfinite=jnp.zeros((), jnp.int32),
  )
