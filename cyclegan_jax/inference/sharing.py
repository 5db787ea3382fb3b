"""The folder of files that shares a model on the Hugging Face Hub."""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.options import flatten
from cyclegan_jax.data import own_source
from cyclegan_jax.defaults import DEFAULTS, PATHS
from cyclegan_jax.hub import address
from cyclegan_jax.inference import card, saved
from cyclegan_jax.inference.model import Model
from cyclegan_jax.training.workdir import Workdir

CARD = 'README.md'
NAMES = (CARD, saved.CONFIG, saved.WEIGHTS, card.SAMPLES)
# Values of data.source whose data.name is public.
_NAMED = ('builtin', 'mni152', 'tfds')
_HUB_SET = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?', re.ASCII)
_LICENSE = re.compile(r'[a-z0-9][a-z0-9.+-]*')
_STEP = re.compile(r'step_(\d+)\.png')


class Wanted(NamedTuple):
  """The parts of a model to share.

  Attributes:
    repo: 'USER/NAME' on the Hub.
    license: an identifier of the Hub, such as 'mit', or ''.
    generators_only: leaves out all other networks.
    samples: adds a picture with test pictures, where the run has drawn one.
  """

  repo: str
  license: str = ''
  generators_only: bool = False
  samples: bool = True


def check(wanted: Wanted) -> None:
  """Raises `UserError` for a repository or a licence that can't be."""
  address.check_repo(wanted.repo, '--repo')
  if wanted.license and not _LICENSE.fullmatch(wanted.license):
    raise UserError(
      f'--license={wanted.license}: give an identifier of the Hub, such as '
      'mit, apache-2.0, cc-by-4.0 or other'
    )


def write(folder: pathlib.Path, model: Model, wanted: Wanted) -> list[str]:
  """Writes the files of a shared model.

  Args:
    folder: made if missing.
    model: what `saved.load` read; its run's folder tells of data and figures.
    wanted: what to share.

  Returns:
    The options that are not shared as they are.

  Raises:
    UserError: the model has no generator, or a file can't be written.
  """
  if not model.directions:
    raise UserError(f'{model.name} (--model) holds no generator')
  config, hidden = public(model.config.to_dict())
  params = {k: v for k, v in model.params.items() if v}
  if wanted.generators_only:
    params = {'gen': params['gen']}
  run = _Run(model)
  sample = run.sample() if wanted.samples else None
  facts = card.Facts(
    repo=wanted.repo,
    license=wanted.license,
    config=config,
    step=run.step,
    directions=model.directions,
    groups=sorted(params, reverse=True),  # generators first
    pictures=run.pictures(),
    rows=run.rows(),
    sample_step=sample[0] if sample else None,
  )
  saved.save(folder, config, params)
  with files.writing(folder):
    files.write(folder / CARD, card.text(facts))
    files.remove(folder / card.SAMPLES)
    if sample:
      files.write(folder / card.SAMPLES, sample[1].read_bytes())
  return hidden


def public(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
  """A config without what it tells of its author's machine.

  Paths become '', options of logging their defaults, and a recipe card's
  function keeps the card's name alone. A data.name that may be a path, which is
  no name of a data set that others can have, becomes '' too.

  Args:
    config: nested dicts, of all options.

  Returns:
    The config, and the options that changed, without those of logging.
  """
  values = flatten(config)
  new = dict(values)
  for key in values:
    if key.startswith('log.'):
      new[key] = DEFAULTS[key]
  for key in PATHS:
    if not address.is_address(values[key]):
      new[key] = ''
  source = values['data.source']
  if own_source.is_text(source):
    new['data.source'] = re.split(r'[/\\]', source)[-1]
  if not _has_public_name(source, values['data.name']):
    new['data.name'] = ''
  nested: dict[str, Any] = {}
  for key, value in new.items():
    section, _, name = key.rpartition('.')
    (nested.setdefault(section, {}) if section else nested)[name] = value
  hidden = [key for key in values if new[key] != values[key]]
  return nested, [key for key in hidden if not key.startswith('log.')]


def _has_public_name(source, name):
  if source == 'hf':
    names = [x.strip() for x in name.split(';')]
    return all(
      _HUB_SET.fullmatch(x) and not pathlib.Path(x).exists() for x in names
    )
  return source in _NAMED


class _Run:
  """The facts in the folder of a model, beside the model; none of other paths.

  Attributes:
    step: the step of training, or None.
  """

  def __init__(self, model):
    self._work, self.step = None, None
    if not address.is_address(model.name):
      path = files.followed(files.absolute(files.place(model.name)))
      self._work = Workdir(path) if path.is_dir() else None
    self._evaluation = _read(self._work and self._work.evaluation, dict)
    if self._work and self._work.has_checkpoints():
      self.step = model.step  # of official files it is an epoch
    elif isinstance(self._evaluation.get('step'), int):
      self.step = self._evaluation['step']  # of a run's best weights

  def pictures(self):
    """The contents of run.json."""
    return _read(self._work and self._work.run, dict)

  def rows(self):
    """Test figures of these weights."""
    if self._evaluation and self._evaluation.get('step') == self.step:
      return _rows(self._evaluation.get('rows'))
    if self.step is None or self.step != self._newest():
      return []
    return _rows(_read(self._work.test_json, list))

  def sample(self):
    """(step, path) of the newest sample grid up to the step, or None."""
    found = [
      (int(match[1]), path)
      for path in (self._work.samples.glob('*.png') if self._work else ())
      if (match := _STEP.fullmatch(path.name))
    ]
    return max((x for x in found if x[0] <= (self.step or 0)), default=None)

  def _newest(self):
    names = [x.name for x in self._work.checkpoints.glob('[0-9]*')]
    return max((int(x) for x in names if x.isdigit()), default=None)


def _read(path, kind):
  """The contents of a JSON file; empty without one of that kind."""
  try:
    content = json.loads(path.read_text()) if path else None
  except (OSError, ValueError):
    content = None
  return content if isinstance(content, kind) else kind()


def _rows(rows):
  if not isinstance(rows, list):
    return []
  return [x for x in rows if isinstance(x, dict) and 'direction' in x]
