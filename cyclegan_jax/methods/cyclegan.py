"""CycleGAN (Zhu et al., ICCV 2017): adversarial, cycle and identity losses."""

import jax

from cyclegan_jax.methods import common
from cyclegan_jax.methods.base import Entry, Method
from cyclegan_jax.methods.losses import l1


def cyclegan(choices):
  """Makes CycleGAN with the paper's loss (Eq. 3) and a weight for each term.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial, cycle_a
      and cycle_b (the paper's lambda, 10 for both), identity_a and identity_b
      (Sec. 5.2), discriminator (0.5 in the official code), gradient_penalty.

  Returns:
    A `Method`.

  Raises:
    UserError: only one direction is to be trained, or an identity loss has a
      weight other than 0 and the domains have different numbers of channels.
  """
  common.both_ways('cyclegan', choices)
  adversarial, weights = choices.adversarial_loss, choices.weights
  common.check_identity(weights, ['identity_a', 'identity_b'], choices)
  generators, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)

  def init(key, batch):
    keys = iter(jax.random.split(key, 4))
    return {
      'gen': {
        d: common.init(net, next(keys), batch[d[0]])
        for d, net in generators.items()
      },
      'disc': {d: common.init(critic, next(keys), batch[d]) for d in 'ab'},
    }

  def generator_loss(params, batch, key, axis=None):
    a, b = batch['a'], batch['b']
    keys = iter(jax.random.split(key, 6))

    def run(direction, *batches):
      """Returns the translations of each batch in a direction."""
      net, weights = generators[direction], params['gen'][direction]
      return common.apply(net, weights, batches, next(keys), axis)

    def fooled(domain, fake):
      """Returns the weighted adversarial loss of translations to a domain."""
      (scores,) = judge(params, domain, [fake], next(keys), axis)
      return weights['adversarial'] * adversarial.generator(scores)

    # The identity images (Sec. 5.2) are made in the same pass, to save time.
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
    return common.total(terms), (samples, terms)

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, common.by_domain, choices),
    translate,
    adversarial.won,
    generators=generators,
  )


ENTRY = Entry(
  cyclegan,
  (
    *common.ADVERSARIAL,
    *common.NETWORKS,
    'loss.cycle_a',
    'loss.cycle_b',
    'loss.identity_a',
    'loss.identity_b',
  ),
)
