"""One step of any method: generators, image pool, discriminators."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax

from cyclegan_jax.methods.base import Method
from cyclegan_jax.training import image_pool, parallel
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

  def step(state, batch, axis=None):
    key = jax.random.fold_in(state.key, state.step)
    key_gen, key_pool, key_disc = jax.random.split(key, 3)
    params = dict(state.params)
    opt_state = dict(state.opt_state)
    learners = [group for group in LEARNERS if group in params]
    new_pool = state.pool
    finite = []

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

    def update(grads, metrics):
      """Updates the groups of networks that have gradients."""
      finite.extend(
        jnp.isfinite(x).all() for x in jax.tree.leaves((grads, metrics))
      )
      for group in grads:
        updates, opt_state[group] = optimizers[group].update(
          grads[group], opt_state[group], params[group]
        )
        params[group] = optax.apply_updates(params[group], updates)
      return metrics

    def gradients(loss, groups, batch, key):
      return _gradients(
        loss, params, groups, batch, key, accumulate, axis, platform
      )

    def update_discriminators(samples):
      nonlocal new_pool
      samples = jax.lax.stop_gradient(samples)
      new_pool, judged = _through_pools(state.pool, samples, key_pool, axis)
      _, *found = gradients(discriminators, ['disc'], (batch, judged), key_disc)
      return update(*found)

    if method.generate is None:
      samples, *found = gradients(generators, learners, batch, key_gen)
      metrics_gen = update(*found)
      metrics_disc = update_discriminators(samples)
    elif accumulate == 1:
      # The pass that made the samples is the one that is learned from.
      made, pull = _generated(method, params, batch, key_gen, axis)
      metrics_disc = update_discriminators(made['samples'])
      found = _gradients_behind(
        generators, params, learners, batch, key_gen, axis, made, pull
      )
      metrics_gen = update(*found)
    else:
      samples = _samples_in_parts(
        method, params, batch, key_gen, accumulate, axis, platform
      )
      metrics_disc = update_discriminators(samples)
      _, *found = gradients(generators, learners, batch, key_gen)
      metrics_gen = update(*found)
    ema = state.ema
    if ema is not None:
      ema = optax.incremental_update(params['gen'], ema, 1 - ema_decay)
    changed = state.replace(
      params=params, opt_state=opt_state, pool=new_pool, ema=ema
    )
    finite = jnp.stack(finite).all()
    if on_nonfinite == 'skip':
      changed = jax.tree.map(partial(jnp.where, finite), changed, state)
    nonfinite = state.nonfinite + ~finite
    return changed.replace(
      step=state.step + 1, nonfinite=nonfinite
    ), metrics_gen | metrics_disc | {NONFINITE: nonfinite}

  return step


def _gradients(loss, params, groups, batch, key, accumulate, axis, platform):
  """Gradients of a loss with respect to some groups of networks.

  Returns:
    The samples of this device's batch; {group: gradients} and the metrics,
    means over the whole batch.
  """
  mine = parallel.varying(params, axis)

  def part(batch, key):
    def of_groups(networks):
      return loss(mine | networks, batch, key)

    (_, (samples, metrics)), grads = jax.value_and_grad(
      of_groups, has_aux=True
    )({group: mine[group] for group in groups})
    return samples, (grads, metrics)

  samples, means = _in_parts(part, batch, key, accumulate, axis, platform)
  # In one go: the devices meet once an update.
  grads, metrics = parallel.mean(means, axis)
  return samples, grads, metrics


def _generated(method, params, batch, key, axis):
  """The result of `Method.generate`, and the way back to 'gen'."""
  mine = parallel.varying(params, axis)
  return jax.vjp(
    lambda gen: method.generate(mine | {'gen': gen}, batch, key, axis),
    mine['gen'],
  )


def _gradients_behind(loss, params, groups, batch, key, axis, made, pull):
  """As `_gradients`, of the loss of what `_generated` gave.

  Returns:
    {group: gradients} and the metrics, means over the whole batch.
  """
  mine = parallel.varying(params, axis)

  def of_groups(made, networks):
    return loss(mine | networks, batch, key, made=made)

  (_, (_, metrics)), (by_made, grads) = jax.value_and_grad(
    of_groups, (0, 1), has_aux=True
  )(made, {group: mine[group] for group in groups})
  (through,) = pull(by_made)
  grads['gen'] = jax.tree.map(jnp.add, grads['gen'], through)
  return parallel.mean((grads, metrics), axis)


def _samples_in_parts(method, params, batch, key, parts, axis, platform):
  """The samples of `Method.generate`, a part of the batch at a time."""
  mine = parallel.varying(params, axis)

  def part(batch, key):
    return method.generate(mine, batch, key, axis)['samples'], {}

  samples, _ = _in_parts(part, batch, key, parts, axis, platform)
  return samples


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


def part_keys(key, parts):
  """The random key of each part of a batch."""
  return jax.random.split(key, parts)


def _in_parts(loss, batch, key, parts, axis, platform):
  """loss(batch, key) -> (samples, values), a part of the batch at a time.

  Returns:
    The samples of the whole batch, the means of the values.
  """
  if parts == 1:
    return loss(batch, key)
  split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
  inputs = (split, part_keys(key, parts))

  def one(sums, part):
    samples, values = loss(*part)
    return jax.tree.map(jnp.add, sums, values), samples

  shapes = jax.eval_shape(
    lambda *part: loss(*part)[1], *jax.tree.map(lambda x: x[0], inputs)
  )
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  sums, samples = parallel.scan(
    one, parallel.varying(zeros, axis), inputs, platform
  )
  samples = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)
  return samples, jax.tree.map(lambda x: x / parts, sums)
