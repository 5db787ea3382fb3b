"""Pieces of several methods: translators, running networks, discriminators."""

import jax
import jax.numpy as jnp

from cyclegan_jax import nets
from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods.losses import gradient_penalty
from cyclegan_jax.nets import layers

# Options for an `Entry`: of a method with `discriminators`
ADVERSARIAL = (
  'loss.adversarial_loss',
  'loss.adversarial',
  'loss.discriminator',
  'loss.gradient_penalty',
)
# and of one that is made of the networks asked for.
NETWORKS = (
  'generator.name',
  'generator.depth',
  'generator.dropout',
  'generator.remat',
  'generator.downsampling',
  'generator.padding',
  'discriminator.name',
  'discriminator.downsampling',
)


def init(net, key, batch):
  """Parameters of a network for a batch's shape."""
  # Shapes alone, so no layer runs; equal layers compile once.
  shape = jax.ShapeDtypeStruct((1, *batch.shape[1:]), batch.dtype)
  return net.lazy_init(key, shape)['params']


def apply(net, params, batches, key, axis, **taps):
  """A network's results for several batches, in one pass where it can.

  Args:
    net: the network.
    params: its parameters.
    batches: list of images [batch, height, width, channels].
    key: random key of the passes.
    axis: name of the mapped device axis, or None.
    **taps: `taps` and `only_taps` of `nets.apply`.

  Returns:
    What `nets.apply` returns for each batch.
  """
  if len(batches) > 1 and net.joins(batches[0].shape):
    joined = nets.apply(
      net, params, jnp.concatenate(batches), key=key, axis=axis, **taps
    )
    pieces = [jnp.split(x, len(batches)) for x in jax.tree.leaves(joined)]
    structure = jax.tree.structure(joined)
    return [jax.tree.unflatten(structure, x) for x in zip(*pieces)]
  return [
    nets.apply(
      net,
      params,
      images,
      key=jax.random.fold_in(key, i),
      axis=axis,
      **taps,
    )
    for i, images in enumerate(batches)
  ]


def judge_by(critic):
  """(params, name, batches, key, axis) -> scores, by one of equal networks."""
  return lambda params, name, *rest: apply(critic, params['disc'][name], *rest)


def by_domain(batch, samples):
  """What a domain's discriminator tells apart, for `discriminators`."""
  return {d: (batch[d], samples[d]) for d in samples}


def join(x, y):
  """A pair of pictures as one, for a discriminator of pairs."""
  return jnp.concatenate([x, y], axis=-1)


def total(terms):
  """The sum of a generator loss's terms.

  Raises:
    UserError: there are none.
  """
  if not terms:
    raise UserError('all weights of loss.* are 0: there is nothing to learn')
  return sum(terms.values(), 0.0)


def both_ways(method, choices):
  """Refuses to train a single direction of a method that needs both."""
  if set(choices.directions) != set(DIRECTIONS):
    raise UserError(
      f'directions={choices.directions[0]!r}: method={method!r} learns both '
      "together: use 'both'"
    )


def check_identity(weights, names, choices):
  """Refuses identity terms between domains of different channels.

  Args:
    weights: {option of loss.*: float}.
    names: those of the identity terms.
    choices: `Choices`.
  """
  for name in names:
    if weights[name] and choices.channels['a'] != choices.channels['b']:
      raise UserError(
        f'loss.{name}={weights[name]} needs data.channels_a and '
        f'data.channels_b to be equal: set it to 0'
      )


def translators(choices):
  """{direction: network}, and the translation by them."""
  networks = {
    d: choices.generator(out_channels=choices.channels[d[-1]])
    for d in choices.directions
  }

  def translate(params, images, direction):
    return nets.apply(networks[direction], params['gen'][direction], images)

  return networks, translate


def discriminators(judge, judged, choices):
  """The loss of a method's discriminators.

  Args:
    judge: (params, name, batches, key, axis) -> their scores by the
      discriminator `name`.
    judged: (batch, samples) -> {name: (what is to be called real, fake)}.
    choices: `Choices`; uses the weights discriminator and gradient_penalty.

  Returns:
    A `Method.discriminator_loss`.
  """
  adversarial, weights = choices.adversarial_loss, choices.weights

  def loss(params, batch, samples, key, axis=None):
    keys = iter(jax.random.split(key, 8))
    terms, scores = {}, {}
    pairs = judged(batch, samples) if samples else {}
    for name, (real, fake) in pairs.items():

      def score(*batches, key, name=name):
        return judge(params, name, batches, key, axis)

      on_real, on_fake = score(real, fake, key=next(keys))
      scores[f'score_real_{name}'] = on_real.mean()
      scores[f'score_fake_{name}'] = on_fake.mean()
      loss = adversarial.discriminator(on_real, on_fake)
      terms[f'disc_{name}'] = weights['discriminator'] * loss
      key_mix, key_net = next(keys), next(keys)
      if adversarial.penalized and weights['gradient_penalty']:
        keys_mix = layers.example_keys(key_mix, len(real), axis)
        mix = jax.vmap(jax.random.uniform)(keys_mix)
        penalty = gradient_penalty(
          lambda images, score=score, key=key_net: score(images, key=key)[0],
          real,
          fake,
          mix,
        )
        factor = weights['discriminator'] * weights['gradient_penalty']
        terms[f'penalty_{name}'] = factor * penalty
    return sum(terms.values(), 0.0), (terms, scores)

  return loss
