"""CycleGAN (Zhu et al., ICCV 2017): adversarial, cycle and identity losses."""

import jax
import jax.numpy as jnp

from cyclegan_jax import nets
from cyclegan_jax.errors import UserError
from cyclegan_jax.losses import gradient_penalty, l1
from cyclegan_jax.methods.method import Method
from cyclegan_jax.nets.layers import example_keys


def cyclegan(generator, discriminator, channels, adversarial, weights):
  """The method of the paper, Eq. 3, with every term's weight apart.

  Args:
    generator: out_channels -> network.
    discriminator: () -> network.
    channels: {'a': int, 'b': int}.
    adversarial: an `AdversarialLoss`.
    weights: adversarial, cycle_a, cycle_b (the paper's lambda, 10 each),
      identity_a, identity_b (Sec. 5.2), discriminator (the official 0.5),
      gradient_penalty.

  Raises:
    UserError: an identity loss between domains of different channels.
  """
  for name in ('identity_a', 'identity_b'):
    if weights[name] and channels['a'] != channels['b']:
      raise UserError(
        f'loss.{name}={weights[name]} needs data.channels_a and '
        f'data.channels_b to be equal: set it to 0'
      )
  generators = {
    'a2b': generator(out_channels=channels['b']),
    'b2a': generator(out_channels=channels['a']),
  }
  critic = discriminator()

  def init(key, batch):
    keys = iter(jax.random.split(key, 4))

    def params(net, images):
      # Shapes alone, so no layer runs; equal layers compile once.
      shape = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
      return net.lazy_init(next(keys), shape)['params']

    return {
      'gen': {
        'a2b': params(generators['a2b'], batch['a']),
        'b2a': params(generators['b2a'], batch['b']),
      },
      'disc': {d: params(critic, batch[d]) for d in ('a', 'b')},
    }

  def apply(net, params, batches, key, axis):
    """A network's results for several batches, in one pass where it can."""
    if len(batches) > 1 and net.joins(batches[0].shape):
      joined = nets.apply(
        net, params, jnp.concatenate(batches), key=key, axis=axis
      )
      return jnp.split(joined, len(batches))
    return [
      nets.apply(net, params, images, key=jax.random.fold_in(key, i), axis=axis)
      for i, images in enumerate(batches)
    ]

  def generator_loss(params, batch, key, axis=None):
    a, b = batch['a'], batch['b']
    keys = iter(jax.random.split(key, 6))

    def run(direction, *batches):
      net, weights = generators[direction], params['gen'][direction]
      return apply(net, weights, batches, next(keys), axis)

    def fooled(domain, fake):
      net = params['disc'][domain]
      (scores,) = apply(critic, net, [fake], next(keys), axis)
      return weights['adversarial'] * adversarial.generator(scores)

    # The identity pictures (Sec. 5.2) go with the batch that is translated.
    fake_b, *same_b = run('a2b', a, *([b] if weights['identity_b'] else []))
    fake_a, *same_a = run('b2a', b, *([a] if weights['identity_a'] else []))
    terms, samples = {}, {}
    if weights['adversarial']:
      terms['adv_a2b'] = fooled('b', fake_b)
      terms['adv_b2a'] = fooled('a', fake_a)
      samples = {'a': fake_a, 'b': fake_b}
    if weights['cycle_a']:
      terms['cycle_a'] = weights['cycle_a'] * l1(run('b2a', fake_b)[0], a)
    if weights['cycle_b']:
      terms['cycle_b'] = weights['cycle_b'] * l1(run('a2b', fake_a)[0], b)
    if weights['identity_a']:
      terms['identity_a'] = weights['identity_a'] * l1(same_a[0], a)
    if weights['identity_b']:
      terms['identity_b'] = weights['identity_b'] * l1(same_b[0], b)
    return sum(terms.values(), 0.0), (samples, terms)

  def discriminator_loss(params, batch, samples, key, axis=None):
    keys = iter(jax.random.split(key, 8))
    terms, scores = {}, {}
    for domain, fake in samples.items():
      real = batch[domain]

      def judge(*batches, key, domain=domain):
        return apply(critic, params['disc'][domain], batches, key, axis)

      on_real, on_fake = judge(real, fake, key=next(keys))
      scores[f'score_real_{domain}'] = on_real.mean()
      scores[f'score_fake_{domain}'] = on_fake.mean()
      factor = weights['discriminator']
      terms[f'disc_{domain}'] = factor * adversarial.discriminator(
        on_real, on_fake
      )
      key_mix, key_net = next(keys), next(keys)
      if adversarial.penalized and weights['gradient_penalty']:
        mix = jax.vmap(jax.random.uniform)(
          example_keys(key_mix, len(real), axis)
        )
        penalty = gradient_penalty(
          lambda images, judge=judge, key=key_net: judge(images, key=key)[0],
          real,
          fake,
          mix,
        )
        terms[f'penalty_{domain}'] = (
          factor * weights['gradient_penalty'] * penalty
        )
    return sum(terms.values(), 0.0), (terms, scores)

  def translate(params, images, direction):
    return nets.apply(generators[direction], params['gen'][direction], images)

  return Method(
    init,
    generator_loss,
    discriminator_loss,
    translate,
    adversarial.won,
    generators=generators,
  )
