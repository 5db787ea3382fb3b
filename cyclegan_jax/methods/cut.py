"""CUT and FastCUT (Park et al., ECCV 2020): PatchNCE instead of cycles."""

from functools import partial

import jax
import jax.numpy as jnp

from cyclegan_jax.methods import common, contrast
from cyclegan_jax.methods.base import Entry, Method


def cut(choices, *, flips=False):
  """Makes CUT or FastCUT: one generator per direction, trained with PatchNCE.

  The PatchNCE term (Eq. 4) requires that each position of a translation matches
  the same position of its input better than other positions. The positions are
  compared by the features of the generator itself. The identity term (Eq. 5) is
  the same loss for a picture of the target domain and the image that the
  generator makes of it. The recipe cards configs/horse2zebra_cut.py and
  configs/horse2zebra_fastcut.py have the paper's settings.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial, nce,
      nce_identity, discriminator, gradient_penalty, and `contrast`.
    flips: True for FastCUT. A step then translates mirrored pictures with
      probability 0.5, and the features of their translations are compared at
      mirrored positions. There is no identity term.

  Returns:
    A `Method`.

  Raises:
    UserError: the generator has no features, contrast.taps names an unknown
      feature, or a PatchNCE term has a weight other than 0 and the domains have
      different numbers of channels (the generator encodes images of both).
  """
  networks, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)
  adversarial = choices.adversarial_loss
  names = ['nce'] if flips else ['nce', 'nce_identity']
  weights = {name: choices.weights[name] for name in names}
  # A generator also encodes images of its target domain.
  common.check_identity(weights, names, choices)
  nce = {
    d: contrast.contrast(choices, net, with_input=True)
    for d, net in networks.items()
  }

  def init(key, batch):
    keys = iter(jax.random.split(key, 3 * len(networks)))
    params = {'gen': {}, 'disc': {}, 'heads': {}}
    for d, net in networks.items():
      x, y = batch[d[0]], batch[d[-1]]
      params['gen'][d] = common.init(net, next(keys), x)
      params['disc'][d[-1]] = common.init(critic, next(keys), y)
      params['heads'][d] = nce[d].init(next(keys), net, x)
    return params

  def draws(key):
    """Returns whether the inputs are mirrored (None: never), and more keys."""
    key_coin, *keys = jax.random.split(key, 1 + 2 * len(networks))
    return jax.random.bernoulli(key_coin) if flips else None, keys

  def generate(params, batch, key, axis=None):
    flipped, keys = draws(key)
    made = {'samples': {}, 'compared': {}}
    for (d, net), k, k_source in zip(networks.items(), keys[::2], keys[1::2]):
      gen, taps = params['gen'][d], nce[d].taps
      x = batch[d[0]]
      inputs = {'nce': jnp.where(flipped, x[:, :, ::-1], x) if flips else x}
      if weights.get('nce_identity'):
        inputs['nce_identity'] = batch[d[-1]]
      # The pass that translates the inputs also gives their features.
      found = common.apply(net, gen, [*inputs.values()], k, axis, taps=taps)
      if choices.weights['adversarial']:
        made['samples'][d[-1]] = found[0][0]
      made['compared'][d] = {
        name: (picture, jax.lax.stop_gradient(features))
        for name, (picture, features) in zip(inputs, found)
      }
      if flips:
        picture, features = made['compared'][d]['nce']

        def others(gen, x, net=net, taps=taps, k=k_source):
          """Returns the features of the inputs before mirroring."""
          return contrast.encode(net, gen, [x], taps, k, axis)[0]

        features = jax.lax.cond(
          flipped,  # `features` are then those of the mirrored inputs
          others,
          lambda gen, x, features=features: features,
          *jax.lax.stop_gradient((gen, x)),
        )
        made['compared'][d]['nce'] = picture, features
    return made

  def generator_loss(params, batch, key, axis=None, made=None):
    made = made or generate(params, batch, key, axis)
    flipped, _ = draws(key)
    keys = iter(jax.random.split(jax.random.fold_in(key, 1), 8))
    terms, samples = {}, {}
    for d, net in networks.items():
      if choices.weights['adversarial']:
        fake = samples[d[-1]] = made['samples'][d[-1]]
        (scores,) = judge(params, d[-1], [fake], next(keys), axis)
        loss = adversarial.generator(scores)
        terms[f'adv_{d}'] = choices.weights['adversarial'] * loss
      compared = {x: y for x, y in made['compared'][d].items() if weights[x]}
      if not compared:
        continue
      pictures = [picture for picture, _ in compared.values()]
      gen, heads = params['gen'][d], params['heads'][d]
      queries = contrast.encode(
        net, gen, pictures, nce[d].taps, next(keys), axis
      )
      for (name, (_, source)), query in zip(compared.items(), queries):
        loss = nce[d].loss(query, heads, source, heads, next(keys), flipped)
        terms[f'{name}_{d}'] = weights[name] * loss
    return common.total(terms), (samples, terms)

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, common.by_domain, choices),
    translate,
    adversarial.won,
    directions=tuple(networks),
    generators=networks,
    generate=generate,
  )


_OPTIONS = (
  *common.ADVERSARIAL,
  *common.NETWORKS,
  *contrast.OPTIONS,
  'directions',
  'loss.nce',
)
ENTRY = Entry(cut, (*_OPTIONS, 'loss.nce_identity'))
FAST_ENTRY = Entry(partial(cut, flips=True), _OPTIONS)
