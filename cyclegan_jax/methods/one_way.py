"""Base of the methods pix2pix, SimGAN and feature loss."""

import jax

from cyclegan_jax.methods import common
from cyclegan_jax.methods.base import Method

# The options for an `Entry`, without that of the weight of `term`.
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
  """Makes a method whose loss is an adversarial loss plus a distance.

  Each direction that is trained has its own generator and discriminator.

  Args:
    choices: the settings, a `Choices`; uses the weights adversarial,
      discriminator, gradient_penalty and `term`.
    term: name of the distance: loss.TERM is its weight, and the log names it
      TERM_DIRECTION.
    distance: (frozen, x, y, fake) -> scalar, where `frozen` are the parameters
      that are never trained, `x` the inputs, `y` the images of the target
      domain in the batch, and `fake` the translations of `x`.
    sees: (x, image) -> the input of the discriminator, where `image` is a real
      image or a translation to be judged, and `x` the corresponding input.
    paired: whether `y` must be the true pairs of `x`.
    frozen: () -> {name: params}, parameters that are never trained; None for
      none.

  Returns:
    A `Method`.
  """
  networks, translate = common.translators(choices)
  critic = choices.discriminator()
  judge = common.judge_by(critic)
  adversarial, weights = choices.adversarial_loss, choices.weights

  def ends(batch, direction):
    """Returns the images of the source and of the target domain."""
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
