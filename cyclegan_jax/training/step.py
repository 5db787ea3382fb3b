"""One training step of any method: generators, image pools, discriminators."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax

from cyclegan_jax.methods.base import Method
from cyclegan_jax.training import image_pool, parallel
from cyclegan_jax.training.share import Share
from cyclegan_jax.training.state import TrainState

# The groups of networks that the generators' loss trains, if a method has them.
LEARNERS = ('gen', 'heads')
# Name of the metric that counts the steps with NaN or infinity in a loss or
# gradient.
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
  """Makes the training step, a pure function to be compiled as one program.

  As in the official code, all generators are updated first, in one update. Then
  the discriminators are updated on the translations that were made before the
  generators' update and passed through the image pools. A method that has
  `generate` updates its discriminators first.

  Args:
    method: the `Method`: networks and losses.
    optimizers: {'gen', 'disc', 'heads'}, the optax transformation of each group
      of networks.
    ema_decay: decay of the moving average of the generators' weights, used if
      the state keeps one.
    accumulate: number of parts of a device's batch, which are processed one
      after the other. Their gradients are averaged, so that the update is the
      same and takes less memory. Only batch norm differs, since its statistics
      are those of one part.
    on_nonfinite: reaction to NaN or infinity in a loss or a gradient. 'skip'
      leaves the state unchanged except for its counts of steps and of such
      steps. 'stop' updates the state as usual and counts the step, and the
      caller must stop.
    platform: name of the platform that the step is compiled for; None for the
      default backend.

  Returns:
    step(state, batch, axis=None) -> (state, metrics): `state` is a
    `TrainState`, `batch` is {'a': images, 'b': images}, `axis` is the name of
    the mapped device axis over which the batch is split, and `metrics` is
    {name: scalar}.
  """

  share = Share(accumulate, platform)
  order = _discriminators_first if method.generate else _generators_first

  def step(state, batch, axis=None):
    """Does one step; see the return value of `make_step`."""
    key = jax.random.fold_in(state.key, state.step)
    key_gen, key_pool, key_disc = jax.random.split(key, 3)
    networks = _Networks(state, optimizers)
    generators, discriminators = _losses(method, axis)
    pool = state.pool

    def judge(samples):
      """Updates the discriminators on `samples` and returns their metrics."""
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
  """Returns the generators' and the discriminators' loss of a method.

  Both have the form that `Share.gradients` takes: (params, batch, key) ->
  (loss, (samples, metrics)). The batch of the discriminators' loss is the pair
  (batch, samples), and that loss returns no samples.
  """

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
  """Updates the generators first, and then the discriminators.

  The discriminators judge the samples of the pass that trained the generators.

  Returns:
    The metrics, {name: scalar}.
  """
  del method
  samples, means = share.gradients(
    loss, networks.params, networks.learners, batch, key, axis
  )
  return networks.update(*means) | judge(samples)


def _discriminators_first(
  method, loss, networks, share, batch, key, axis, judge
):
  """Updates the discriminators first, and then the generators against them.

  Returns:
    The metrics, {name: scalar}.
  """
  mine = parallel.varying(networks.params, axis)

  def generate(gen):
    return method.generate(mine | {'gen': gen}, batch, key, axis)

  if share.parts > 1:
    # A second pass for the gradients takes less memory than keeping the first.
    metrics = judge(share.samples(method, mine, batch, key, axis))
    _, means = share.gradients(
      loss, networks.params, networks.learners, batch, key, axis
    )
    return metrics | networks.update(*means)

  made, back = jax.vjp(generate, mine['gen'])
  metrics = judge(made['samples'])
  mine = parallel.varying(networks.params, axis)

  def behind(made, learners):
    """Returns the loss as a function of the generators' outputs `made`."""
    return loss(mine | learners, batch, key, made=made)

  (_, (_, terms)), (by_made, grads) = jax.value_and_grad(
    behind, (0, 1), has_aux=True
  )(made, {group: mine[group] for group in networks.learners})
  grads['gen'] = jax.tree.map(jnp.add, grads['gen'], *back(by_made))
  return metrics | networks.update(*parallel.mean((grads, terms), axis))


class _Networks:
  """Parameters during a step, which `update` changes group by group.

  Attributes:
    params: {group: {name: params}}, as in `TrainState`.
    opt_state: {group: state of its optimizer}, as in `TrainState`.
    learners: names of the groups that the generators' loss trains.
    finite: list of boolean scalars, true for each loss, metric or gradient of
      the step that is finite.
  """

  def __init__(self, state, optimizers):
    self.params, self.opt_state = dict(state.params), dict(state.opt_state)
    self.learners = [group for group in LEARNERS if group in state.params]
    self.finite = []
    self._optimizers = optimizers

  def update(self, grads, metrics):
    """Updates some groups of networks and returns `metrics` unchanged.

    The new parameters and optimizer states replace those of this object, even
    if a value is not finite; `finite` collects the checks of all values.

    Args:
      grads: {group: gradients} of the groups to update, checked for NaN and
        infinity.
      metrics: {name: scalar}, checked in the same way.
    """
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

  Every device passes the samples of the whole batch through the pool and keeps
  its own share of the result. The result therefore does not depend on the
  number of devices.

  Returns:
    The new pools, and {name: samples} for the discriminators to judge.
  """
  new, judged = {}, dict(samples)
  for i, name in enumerate(sorted(pools)):
    everyone = parallel.gather(samples[name], axis)
    new[name], shown = image_pool.exchange(
      pools[name], everyone, jax.random.fold_in(key, i)
    )
    judged[name] = parallel.own_share(shown, axis)
  return new, judged
