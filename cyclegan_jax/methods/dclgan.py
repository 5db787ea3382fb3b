"""DCLGAN (Han et al., 2021): CycleGAN with contrast in place of the cycle."""

import jax

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.methods import common, contrast
from cyclegan_jax.methods.base import Entry, Method
from cyclegan_jax.methods.losses import l1


def dclgan(choices):
  """Both directions, each compared by PatchNCE across the two generators.

  A translation to b is encoded by the generator that takes b, its input by the
  one that takes a; a projection head per domain. With an L1 identity loss.
  configs/horse2zebra_dclgan.py has the paper's settings.

  Args:
    choices: `Choices`; uses the weights adversarial, nce, identity_a,
      identity_b, discriminator, gradient_penalty, and `contrast`.

  Raises:
    UserError: a generator without features, or an identity term between
      domains of different channels.
  """
  common.both_ways('dclgan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  common.check_identity(weights, ['identity_a', 'identity_b'], choices)
  generators, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)
  nce = contrast.contrast(choices, generators['a2b'], with_input=False)
  takes = {'a': 'a2b', 'b': 'b2a'}  # the generator that encodes a domain

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
      # The pass that translates a picture has its features, too.
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
