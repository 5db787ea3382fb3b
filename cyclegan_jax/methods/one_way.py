"""Methods whose directions learn alone: pix2pix, SimGAN and feature loss."""

import jax

from cyclegan_jax.methods import common
from cyclegan_jax.methods.base import Method

# The options for an `Entry`, but for that of its `term`.
OPTIONS = (*common.ADVERSARIAL, *common.NETWORKS, 'directions')


def one_way(
  choices,
  *,
  term,
  distance,
  sees=lambda x, image: image,
  paired=False,
  frozen=None,
):
  """A method of an adversarial loss and a distance, in each direction alone.

  Args:
    choices: `Choices`; uses the weights adversarial, discriminator,
      gradient_penalty and `term`.
    term: name of the distance's weight, and in the log.
    distance: (frozen parameters, x, y, fake) -> scalar, where fake is x's
      translation and y the picture of the other domain.
    sees: (x, image) -> what a discriminator is shown of an image to judge.
    paired: whether y has to be x's true translation.
    frozen: () -> {name: params} that nobody trains, or None.
  """
  networks, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)
  adversarial, weights = choices.adversarial_loss, choices.weights

  def ends(batch, direction):
    return batch[direction[0]], batch[direction[-1]]

  def init(key, batch):
    keys = iter(jax.random.split(key, 2 * len(networks)))
    gen = {
      d: common.init(net, next(keys), ends(batch, d)[0])
      for d, net in networks.items()
    }
    disc = {
      d[-1]: common.init(critic, next(keys), sees(*ends(batch, d)))
      for d in networks
    }
    params = {'gen': gen, 'disc': disc}
    return params | ({'frozen': frozen()} if frozen else {})

  def generator_loss(params, batch, key, axis=None):
    keys = iter(jax.random.split(key, 2 * len(networks)))
    terms, samples = {}, {}
    for d, net in networks.items():
      x, y = ends(batch, d)
      (fake,) = common.apply(net, params['gen'][d], [x], next(keys), axis)
      if weights['adversarial']:
        samples[d[-1]] = sees(x, fake)
        (scores,) = judge(params, d[-1], [samples[d[-1]]], next(keys), axis)
        loss = adversarial.generator(scores)
        terms[f'adv_{d}'] = weights['adversarial'] * loss
      if weights[term]:
        far = distance(params.get('frozen'), x, y, fake)
        terms[f'{term}_{d}'] = weights[term] * far
    return common.total(terms), (samples, terms)

  def judged(batch, samples):
    return {d[-1]: (sees(*ends(batch, d)), samples[d[-1]]) for d in networks}

  return Method(
    init,
    generator_loss,
    common.discriminators(judge, judged, choices),
    translate,
    adversarial.won,
    directions=tuple(networks),
    generators=networks,
    paired=paired,
  )
