"""BiGAN and ALI, used between two image domains.

Donahue et al. and Dumoulin et al., both ICLR 2017.
"""

import jax

from cyclegan_jax.methods import common
from cyclegan_jax.methods.base import Entry, Method


def bigan(choices):
  """Makes BiGAN as the CycleGAN paper compares it (Sec. 5.1.1).

  One discriminator tells pairs (x, G(x)) from pairs (F(y), y). The pair
  (x, G(x)) is labelled 1 and (F(y), y) is labelled 0, so G is trained towards
  the label 0 and F towards 1. There is no cycle and no identity loss. Each kind
  of pair has its own image pool.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial,
      discriminator, gradient_penalty.

  Returns:
    A `Method`.

  Raises:
    UserError: only one direction is to be trained.
  """
  common.both_ways('bigan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  generators, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)

  def init(key, batch):
    keys = jax.random.split(key, 3)
    gen = {
      d: common.init(net, k, batch[d[0]])
      for k, (d, net) in zip(keys, generators.items())
    }
    pair = common.join(batch['a'], batch['b'])
    return {'gen': gen, 'disc': {'pair': common.init(critic, keys[2], pair)}}

  def generator_loss(params, batch, key, axis=None):
    keys = iter(jax.random.split(key, 4))

    def fake(d):
      """Returns the translations of the batch in the direction `d`."""
      net, images = generators[d], batch[d[0]]
      return common.apply(net, params['gen'][d], [images], next(keys), axis)[0]

    samples = {
      'a2b': common.join(batch['a'], fake('a2b')),
      'b2a': common.join(fake('b2a'), batch['b']),
    }
    wants = {'a2b': adversarial.generator_fake, 'b2a': adversarial.generator}
    terms = {}
    if weights['adversarial']:
      for d, want in wants.items():
        (scores,) = judge(params, 'pair', [samples[d]], next(keys), axis)
        terms[f'adv_{d}'] = weights['adversarial'] * want(scores)
    return common.total(terms), (samples, terms)

  def judged(batch, samples):
    del batch
    return {'pair': (samples['a2b'], samples['b2a'])}

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, judged, choices),
    translate,
    adversarial.won,
    generators=generators,
  )


ENTRY = Entry(bigan, (*common.ADVERSARIAL, *common.NETWORKS))
