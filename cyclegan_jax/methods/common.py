"""Shared parts of methods: running networks, translation, discriminators."""

import jax
import jax.numpy as jnp

from cyclegan_jax import nets
from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods.losses import gradient_penalty
from cyclegan_jax.nets import layers

# Options for the `Entry` of a method that uses `discriminators`.
ADVERSARIAL = (
  'loss.adversarial_loss',
  'loss.adversarial',
  'loss.discriminator',
  'loss.gradient_penalty',
)
# Options for the `Entry` of a method that uses the networks of the config.
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
  """Initialises a network.

  Args:
    net: the network.
    key: a random key.
    batch: images [batch, height, width, channels], read for shape and dtype.

  Returns:
    The random parameters.
  """
  # With shapes instead of values no layer runs, and equal layers compile once.
  shape = jax.ShapeDtypeStruct((1, *batch.shape[1:]), batch.dtype)
  return net.lazy_init(key, shape)['params']


def apply(net, params, batches, key, axis, **taps):
  """Runs a network on several batches, in one joint pass if possible.

  Args:
    net: the network.
    params: the parameters of `net`.
    batches: list of images [batch, height, width, channels], of equal shape.
    key: random key for dropout.
    axis: name of the mapped device axis, or None.
    **taps: the arguments `taps` (names of features to return) and `only_taps`
      (whether to return features only) of `nets.apply`.

  Returns:
    A list of the return values of `nets.apply`, one per batch.
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
  """Makes the function by which a method's discriminators judge images.

  Args:
    critic: the network of every discriminator.

  Returns:
    A function (params, name, batches, key, axis) -> list of the scores of each
    batch, [batch, out_height, out_width, 1]. The discriminator has the
    parameters params['disc'][name]. `batches` is a list of images [batch,
    height, width, channels], `key` a random key for dropout, and `axis` the
    name of the mapped device axis or None.
  """
  return lambda params, name, *rest: apply(critic, params['disc'][name], *rest)


def by_domain(batch, samples):
  """Returns the real images and translations that discriminators judge.

  Args:
    batch: {'a': images, 'b': images}.
    samples: {domain: translations to the domain}.

  Returns:
    {domain: (real images, translations)} of the domains of `samples`, the form
    that `discriminators` takes.
  """
  return {d: (batch[d], samples[d]) for d in samples}


def join(x, y):
  """Joins two batches of images along the channels.

  Args:
    x: images [batch, height, width, c].
    y: images [batch, height, width, c'].

  Returns:
    Images [batch, height, width, c + c'], for a discriminator of pairs.
  """
  return jnp.concatenate([x, y], axis=-1)


def total(terms):
  """Returns the sum of the weighted terms of a generator loss.

  Args:
    terms: {name: scalar}.

  Raises:
    UserError: there are no terms.
  """
  if not terms:
    raise UserError('loss.*: all weights are 0: set at least one above 0')
  return sum(terms.values(), 0.0)


def both_ways(method, choices):
  """Checks that both directions are to be trained.

  Args:
    method: name of a method that can only train both, for the error message.
    choices: the settings, a `Choices`.

  Raises:
    UserError: only one direction is to be trained.
  """
  if set(choices.directions) != set(DIRECTIONS):
    raise UserError(
      f'directions={choices.directions[0]!r}: method={method!r} always learns '
      "both directions: use 'both'"
    )


def check_identity(weights, names, choices):
  """Checks that terms which need equal channels in both domains can be used.

  Args:
    weights: {name: weight of the option loss.NAME}.
    names: names of the terms that need equal channels, such as identity terms.
    choices: the settings, a `Choices`.

  Raises:
    UserError: such a term has a weight other than 0, and the domains have
      different numbers of channels.
  """
  for name in names:
    if weights[name] and choices.channels['a'] != choices.channels['b']:
      raise UserError(
        f'loss.{name}={weights[name]} needs equal data.channels_a and '
        f'data.channels_b: set this weight to 0'
      )


def translators(choices):
  """Makes the generators of a method, one per direction.

  Args:
    choices: the settings, a `Choices`.

  Returns:
    {direction: network}, and the `Method.translate` that runs these networks:
    (params, images, direction) -> images.
  """
  networks = {
    d: choices.generator(out_channels=choices.channels[d[-1]])
    for d in choices.directions
  }

  def translate(params, images, direction):
    return nets.apply(networks[direction], params['gen'][direction], images)

  return networks, translate


def discriminators(judge, judged, choices):
  """Makes the loss of a method's discriminators.

  The loss is the sum over the discriminators of the adversarial loss. WGAN-GP
  adds the gradient penalty.

  Args:
    judge: the function that `judge_by` returns: (params, name, batches, key,
      axis) -> list of the scores of each batch by the discriminator `name`,
      with a random key and the name of the mapped device axis or None.
    judged: (batch, samples) -> {name: (real, fake)}, the images that the
      discriminator `name` is to call real and fake.
    choices: the settings, a `Choices`; uses the weights discriminator and
      gradient_penalty.

  Returns:
    A `Method.discriminator_loss`: (params, batch, samples, key, axis) -> (loss,
    (terms, scores)).
  """
  adversarial, weights = choices.adversarial_loss, choices.weights

  def loss(params, batch, samples, key, axis=None):
    keys = iter(jax.random.split(key, 8))
    terms, scores = {}, {}
    pairs = judged(batch, samples) if samples else {}
    for name, (real, fake) in pairs.items():

      def score(*batches, key, name=name):
        """Returns the scores of each batch by this discriminator."""
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
