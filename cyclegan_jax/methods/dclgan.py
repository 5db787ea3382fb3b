"""DCLGAN (Han et al., 2021): CycleGAN with PatchNCE instead of the cycle."""

import jax

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.methods import common, contrast
from cyclegan_jax.methods.base import Entry, Method
from cyclegan_jax.methods.losses import l1


def dclgan(choices):
  """Makes DCLGAN: both directions, with PatchNCE across the two generators.

  PatchNCE compares a translation to B, encoded by the generator `b2a`, with its
  input, encoded by the generator `a2b`; and likewise in the other direction.
  Each domain has its own projection heads. An L1 identity loss is added. The
  recipe card configs/horse2zebra_dclgan.py has the paper's settings.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial, nce,
      identity_a, identity_b, discriminator, gradient_penalty, and `contrast`.

  Returns:
    A `Method`.

  Raises:
    UserError: only one direction is to be trained, the generator has no
      features, contrast.taps names an unknown feature, or an identity loss has
      a weight other than 0 and the domains have different numbers of channels.
  """
  common.both_ways('dclgan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  common.check_identity(weights, ['identity_a', 'identity_b'], choices)
  generators, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)
  nce = contrast.contrast(choices, generators['a2b'], with_input=False)
  # The generator that encodes the images of each domain.
  takes = {'a': 'a2b', 'b': 'b2a'}

  def init(key, batch):
    keys = iter(jax.random.split(key, 6))
    params = {'gen': {}, 'disc': {}, 'heads': {}}
    for d, net in generators.items():
      params['gen'][d] = common.init(net, next(keys), batch[d[0]])
    for d in 'ab':
      net = generators[takes[d]]
      params['disc'][d] = common.init(critic, next(keys), batch[d])
      params['heads'][d] = nce.init(next(keys), net, batch[d])
    return params

  def generate(params, batch, key, axis=None):
    made = {'fakes': {}, 'identity': {}, 'features': {}}
    for d, k in zip(DIRECTIONS, jax.random.split(key)):
      source, target = d[0], d[-1]
      images = [batch[source]]
      if weights[f'identity_{target}']:
        images.append(batch[target])
      # The pass that translates the inputs also gives their features.
      (fake, features), *same = common.apply(
        generators[d], params['gen'][d], images, k, axis, taps=nce.taps
      )
      made['fakes'][target] = fake
      made['features'][source] = jax.lax.stop_gradient(features)
      if same:
        ((made['identity'][target], _),) = same
    return made | {'samples': made['fakes'] if weights['adversarial'] else {}}

  def generator_loss(params, batch, key, axis=None, made=None):
    made = made or generate(params, batch, key, axis)
    keys = iter(jax.random.split(jax.random.fold_in(key, 1), 6))
    terms = {}
    for d in DIRECTIONS:
      source, target = d[0], d[-1]
      fake, back = made['fakes'][target], takes[target]
      if weights['adversarial']:
        (scores,) = judge(params, target, [fake], next(keys), axis)
        loss = adversarial.generator(scores)
        terms[f'adv_{d}'] = weights['adversarial'] * loss
      if weights['nce']:
        (query,) = contrast.encode(
          generators[back],
          params['gen'][back],
          [fake],
          nce.taps,
          next(keys),
          axis,
        )
        heads = params['heads']
        loss = nce.loss(
          query,
          heads[target],
          made['features'][source],
          heads[source],
          next(keys),
        )
        terms[f'nce_{d}'] = weights['nce'] * loss
    for d, same in made['identity'].items():
      name = f'identity_{d}'
      terms[name] = weights[name] * l1(same, batch[d])
    return common.total(terms), (made['samples'], terms)

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, common.by_domain, choices),
    translate,
    adversarial.won,
    generators=generators,
    generate=generate,
  )


ENTRY = Entry(
  dclgan,
  (
    *common.ADVERSARIAL,
    *common.NETWORKS,
    *contrast.OPTIONS,
    'loss.nce',
    'loss.identity_a',
    'loss.identity_b',
  ),
)
