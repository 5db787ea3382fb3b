"""One step of any method: generators, image pool, discriminators."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax

from cyclegan_jax.methods.base import Method
from cyclegan_jax.training import image_pool, parallel
from cyclegan_jax.training.share import Share
from cyclegan_jax.training.state import TrainState

# The groups of networks that the generators' loss trains, where a method has
# them.
LEARNERS = ('gen', 'heads')
# The metric that counts the steps with NaN or infinity in a loss or gradient.
NONFINITE = 'nonfinite_steps'


def make_step(
  method: Method,
  optimizers: Mapping[str, optax.GradientTransformation],
  *,
  ema_decay: float = 0.0,
  accumulate: int = 1,
  on_nonfinite: str = 'stop',
  platform: str | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """The pure step of training, to be compiled as one program.

  As in the official code the generators are updated first, all at once, then
  the discriminators, on the fakes made before that update and passed through
  the image pool. A method that has `generate` updates its discriminators first.

  Args:
    method: a `Method`.
    optimizers: {'gen', 'disc', 'heads'}, optax transformations.
    ema_decay: decay of the generators' moving average; 0 keeps none.
    accumulate: number of parts of a device's batch, taken one after the other,
      their gradients added up: less memory, the same update. (Batch norm sees
      one part at a time.)
    on_nonfinite: 'skip': a step with NaN or infinity in a loss or a gradient
      changes nothing but the counts; 'stop': it is counted, for the caller to
      stop.
    platform: what it is compiled for; None for the default backend.

  Returns:
    step(state, batch, axis=None) -> (state, metrics): `axis` is the mapped
    device axis, along which the batch is split; metrics are scalars.
  """

  share = Share(accumulate, platform)
  order = _discriminators_first if method.generate else _generators_first

  def step(state, batch, axis=None):
    key = jax.random.fold_in(state.key, state.step)
    key_gen, key_pool, key_disc = jax.random.split(key, 3)
    networks = _Networks(state, optimizers)
    generators, discriminators = _losses(method, axis)
    pool = state.pool

    def judge(samples):
      """Updates the discriminators; returns their metrics."""
      nonlocal pool
      samples = jax.lax.stop_gradient(samples)
      pool, judged = _through_pools(pool, samples, key_pool, axis)
      _, means = share.gradients(
        discriminators,
        networks.params,
        ['disc'],
        (batch, judged),
        key_disc,
        axis,
      )
      return networks.update(*means)

    metrics = order(
      method, generators, networks, share, batch, key_gen, axis, judge
    )
    ema = state.ema
    if ema is not None:
      ema = optax.incremental_update(networks.params['gen'], ema, 1 - ema_decay)
    changed = state.replace(
      params=networks.params, opt_state=networks.opt_state, pool=pool, ema=ema
    )
    finite = jnp.stack(networks.finite).all()
    if on_nonfinite == 'skip':
      changed = jax.tree.map(partial(jnp.where, finite), changed, state)
    nonfinite = state.nonfinite + ~finite
    changed = changed.replace(step=state.step + 1, nonfinite=nonfinite)
    return changed, metrics | {NONFINITE: nonfinite}

  return step


def _losses(method, axis):
  """The losses of generators and of discriminators, for `Share.gradients`."""

  def generators(params, batch, key, **made):
    total, (samples, terms) = method.generator_loss(
      params, batch, key, axis, **made
    )
    return total, (samples, terms | {'loss_gen': total})

  def discriminators(params, batch_and_samples, key):
    total, (terms, scores) = method.discriminator_loss(
      params, *batch_and_samples, key, axis
    )
    return total, ({}, terms | scores | {'loss_disc': total})

  return generators, discriminators


def _generators_first(method, loss, networks, share, batch, key, axis, judge):
  """Updates all networks; the discriminators see the samples made on the way.

  Returns:
    The metrics.
  """
  del method
  samples, means = share.gradients(
    loss, networks.params, networks.learners, batch, key, axis
  )
  return networks.update(*means) | judge(samples)


def _discriminators_first(
  method, loss, networks, share, batch, key, axis, judge
):
  """Updates all networks, the generators against new discriminators.

  Returns:
    The metrics.
  """
  mine = parallel.varying(networks.params, axis)

  def generate(gen):
    return method.generate(mine | {'gen': gen}, batch, key, axis)

  if share.parts > 1:
    # One pass for the samples and later one to learn from: less memory.
    metrics = judge(share.samples(method, mine, batch, key, axis))
    _, means = share.gradients(
      loss, networks.params, networks.learners, batch, key, axis
    )
    return metrics | networks.update(*means)

  made, back = jax.vjp(generate, mine['gen'])
  metrics = judge(made['samples'])
  mine = parallel.varying(networks.params, axis)

  def behind(made, learners):
    return loss(mine | learners, batch, key, made=made)

  (_, (_, terms)), (by_made, grads) = jax.value_and_grad(
    behind, (0, 1), has_aux=True
  )(made, {group: mine[group] for group in networks.learners})
  grads['gen'] = jax.tree.map(jnp.add, grads['gen'], *back(by_made))
  return metrics | networks.update(*parallel.mean((grads, terms), axis))


class _Networks:
  """The parameters of a step, updated one group of networks after the other.

  Attributes:
    params, opt_state: as in `TrainState`.
    learners: the groups that the generators' loss trains.
    finite: whether losses and gradients so far are, a list of scalars.
  """

  def __init__(self, state, optimizers):
    self.params, self.opt_state = dict(state.params), dict(state.opt_state)
    self.learners = [group for group in LEARNERS if group in state.params]
    self.finite = []
    self._optimizers = optimizers

  def update(self, grads, metrics):
    """Updates the groups that have gradients; returns the metrics."""
    self.finite.extend(
      jnp.isfinite(x).all() for x in jax.tree.leaves((grads, metrics))
    )
    for group in grads:
      updates, self.opt_state[group] = self._optimizers[group].update(
        grads[group], self.opt_state[group], self.params[group]
      )
      self.params[group] = optax.apply_updates(self.params[group], updates)
    return metrics


def _through_pools(pools, samples, key, axis):
  """Passes each kind of sample through its image pool, if it has one.

  All devices see the exchange of the whole batch and take their own share, so
  that their number is invisible in the result.

  Returns:
    The new pools, and the samples for the discriminators to judge.
  """
  new, judged = {}, dict(samples)
  for i, name in enumerate(sorted(pools)):
    everyone = parallel.gather(samples[name], axis)
    new[name], shown = image_pool.exchange(
      pools[name], everyone, jax.random.fold_in(key, i)
    )
    judged[name] = parallel.own_share(shown, axis)
  return new, judged
