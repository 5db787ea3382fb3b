"""CoGAN (Liu and Tuzel, NeurIPS 2016): two GANs with tied layers."""

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
_STEPS, _RATE = 200, 0.1  # of the search for a picture's z


def cogan(choices):
  """Draws pairs of pictures from one z; translates by finding a picture's z.

  The generators share their first layers, the discriminators their last ones.
  A picture x is translated by minimising |G_X(z) - x|^2 over z and drawing
  G_Y(z), so it must have the size of training. Of the networks asked for,
  width, norm, init, upsampling and dtype are used.

  Args:
    choices: `Choices`; uses the weights adversarial, discriminator,
      gradient_penalty.
  """
  common.both_ways('cogan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  like, critic = choices.generator(out_channels=3), choices.discriminator()
  seen = critic.options() | {'depth': critic.depth}

  def drawer(domain, shape, **changes):
    return CoGenerator(
      **like.options() | changes,
      domain=domain,
      size=shape[1:3],
      out_channels=choices.channels[domain],
      upsampling=like.upsampling,
    )

  def viewer(domain):
    return CoDiscriminator(**seen, domain=domain)

  def init(key, batch):
    key_gen, key_disc = jax.random.split(key)
    z = jnp.zeros((1, 1, 1, _NOISE))
    gen, disc = {}, {}
    for d in 'ab':  # the same key: tied layers come out the same
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
        'translates pictures of the size it was trained on only'
      )

    # Another form, for the search is a loop.
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
  """The z [b, 1, 1, n] whose drawings are closest to images [b, h, w, c].

  Args:
    draw: z -> images.
    images: the images to find.
  """

  def far(z):
    return jnp.sum(jnp.square(draw(z) - images))

  optimizer = optax.adam(_RATE)

  def closer(_, carry):
    z, state = carry
    updates, state = optimizer.update(jax.grad(far)(z), state)
    return optax.apply_updates(z, updates), state

  # Not from 0, which the norms make nothing of; the same for all pictures.
  z = jax.random.normal(jax.random.PRNGKey(0), (1, 1, 1, _NOISE))
  z = jnp.repeat(z, len(images), axis=0)
  z, _ = jax.lax.fori_loop(0, _STEPS, closer, (z, optimizer.init(z)))
  return z


ENTRY = Entry(cogan, common.ADVERSARIAL)
