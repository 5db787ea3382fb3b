"""One step of any method: generators, image pool, discriminators."""

import jax
import optax

from cyclegan_jax import image_pool, parallel


def make_step(method, optimizers, *, ema_decay=0.0):
  """The pure step of training, to be compiled as one program.

  As in the official code the generators are updated first, all at once, then
  the discriminators, on the fakes made before that update and passed through
  the image pool.

  Args:
    method: a `Method`.
    optimizers: {'gen', 'disc'}, optax transformations.
    ema_decay: decay of the generators' moving average; 0 keeps none.

  Returns:
    step(state, batch, axis=None) -> (state, metrics): `axis` is the mapped
    device axis, along which the batch is split; metrics are scalars.
  """

  def step(state, batch, axis=None):
    key = jax.random.fold_in(state.key, state.step)
    key_gen, key_pool, key_disc = jax.random.split(key, 3)
    params = dict(state.params)
    opt_state = dict(state.opt_state)

    def update(name, loss):
      """Updates one group of networks and hands on what the loss gave."""
      mine = parallel.varying(params, axis)

      def of_group(group):
        return loss(mine | {name: group})

      (total, aux), grads = jax.value_and_grad(of_group, has_aux=True)(
        mine[name]
      )
      updates, opt_state[name] = optimizers[name].update(
        parallel.mean(grads, axis), opt_state[name], params[name]
      )
      params[name] = optax.apply_updates(params[name], updates)
      return total, aux

    total_gen, (samples, terms_gen) = update(
      'gen', lambda p: method.generator_loss(p, batch, key_gen, axis)
    )
    pool = {}
    for i, (name, images) in enumerate(sorted(samples.items())):
      everyone = parallel.gather(jax.lax.stop_gradient(images), axis)
      pool[name], judged = image_pool.exchange(
        state.pool[name], everyone, jax.random.fold_in(key_pool, i)
      )
      samples[name] = parallel.own_share(judged, axis)
    total_disc, (terms_disc, scores) = update(
      'disc',
      lambda p: method.discriminator_loss(p, batch, samples, key_disc, axis),
    )
    metrics = terms_gen | terms_disc | scores
    metrics |= {'loss_gen': total_gen, 'loss_disc': total_disc}
    ema = state.ema
    if ema is not None:
      ema = optax.incremental_update(params['gen'], ema, 1 - ema_decay)
    return state.replace(
      step=state.step + 1,
      params=params,
      opt_state=opt_state,
      pool=pool,
      ema=ema,
    ), parallel.mean(metrics, axis)

  return step
