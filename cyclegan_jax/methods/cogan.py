"""CoGAN (Liu and Tuzel, NeurIPS 2016): two GANs that share layers."""

import jax
import jax.numpy as jnp
import optax

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import common
from cyclegan_jax.methods.base import Entry, Method
from cyclegan_jax.nets import layers
from cyclegan_jax.nets.cogan import CoDiscriminator, CoGenerator
from cyclegan_jax.nets.conv import forms

_NOISE = 100  # elements of z
_STEPS, _RATE = 200, 0.1  # of the search for the z of an image


def cogan(choices):
  """Makes CoGAN as the CycleGAN paper compares it (Sec. 5.1.1).

  Two generators make an image of each domain from the same noise z, and share
  their first layers. The discriminators share their last layers. An image x is
  translated in two steps: Adam finds the z that minimises the squared error
  between G_X(z) and x, and G_Y(z) is the translation. Therefore x must have the
  size of the training images. CoGAN has its own networks, which use only the
  options width, norm, init, upsampling and dtype.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial,
      discriminator, gradient_penalty.

  Returns:
    A `Method`, whose `translate` raises `UserError` for images of another size
    than the training images.

  Raises:
    UserError: only one direction is to be trained.
  """
  common.both_ways('cogan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  like, critic = choices.generator(out_channels=3), choices.discriminator()
  seen = critic.options() | {'depth': critic.depth}

  def drawer(domain, shape, **changes):
    """Returns the generator of a domain for images of `shape`."""
    return CoGenerator(
      **like.options() | changes,
      domain=domain,
      size=shape[1:3],
      out_channels=choices.channels[domain],
      upsampling=like.upsampling,
    )

  def viewer(domain):
    """Returns the discriminator of a domain."""
    return CoDiscriminator(**seen, domain=domain)

  def init(key, batch):
    key_gen, key_disc = jax.random.split(key)
    z = jnp.zeros((1, 1, 1, _NOISE))
    gen, disc = {}, {}
    for d in 'ab':  # with the same key, shared layers get equal weights
      gen |= common.init(drawer(d, batch[d].shape), key_gen, z)
      disc |= common.init(viewer(d), key_disc, batch[d])
    return {'gen': {'pair': gen}, 'disc': {'pair': disc}}

  def judge(params, domain, batches, key, axis):
    params = params['disc']['pair']
    return common.apply(viewer(domain), params, batches, key, axis)

  def generator_loss(params, batch, key, axis=None):
    key_z, *keys = jax.random.split(key, 5)
    drawn = layers.example_keys(key_z, len(batch['a']), axis)
    z = jax.vmap(lambda key: jax.random.normal(key, (1, 1, _NOISE)))(drawn)
    terms, samples = {}, {}
    for i, d in enumerate('ab'):
      net = drawer(d, batch[d].shape)
      (fake,) = common.apply(net, params['gen']['pair'], [z], keys[2 * i], axis)
      samples[d] = fake
      if weights['adversarial']:
        (scores,) = judge(params, d, [fake], keys[2 * i + 1], axis)
        loss = weights['adversarial'] * adversarial.generator(scores)
        terms[f'adv_{d}'] = loss
    return common.total(terms), (samples, terms)

  def translate(params, images, direction):
    params = params['gen']['pair']
    source, target = (drawer(d, images.shape) for d in direction.split('2'))
    if source.seed_features != params['seed']['bias'].size:
      raise UserError(
        f'{images.shape[2]}x{images.shape[1]} pictures: method="cogan" '
        'only translates pictures of the size that it was trained on'
      )

    # Convolutions inside the loop of the search need another form.
    platform = forms.in_loop(like.target)
    looped = drawer(direction[0], images.shape, platform=platform)
    z = _search(lambda z: nets.apply(looped, params, z), images)
    return nets.apply(target, params, z)

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, common.by_domain, choices),
    translate,
    adversarial.won,
  )


def _search(draw, images):
  """Finds with Adam the z whose images have the least squared error.

  Args:
    draw: z [b, 1, 1, n] -> images [b, h, w, c].
    images: the images to approximate [b, h, w, c].

  Returns:
    z [b, 1, 1, n].
  """

  def far(z):
    return jnp.sum(jnp.square(draw(z) - images))

  optimizer = optax.adam(_RATE)

  def closer(_, carry):
    z, state = carry
    updates, state = optimizer.update(jax.grad(far)(z), state)
    return optax.apply_updates(z, updates), state

  # z = 0 is no useful start, since the norms turn its features into zeros.
  # Every image starts at the same z, whatever its place in the batch.
  z = jax.random.normal(jax.random.PRNGKey(0), (1, 1, 1, _NOISE))
  z = jnp.repeat(z, len(images), axis=0)
  z, _ = jax.lax.fori_loop(0, _STEPS, closer, (z, optimizer.init(z)))
  return z


ENTRY = Entry(cogan, common.ADVERSARIAL)
