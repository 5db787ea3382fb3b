"""Writes the files that share a model on the Hugging Face Hub."""

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
# Values of data.source whose data.name is always public.
_NAMED = ('builtin', 'mni152', 'tfds')
_HUB_SET = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?', re.ASCII)
_LICENSE = re.compile(r'[a-z0-9][a-z0-9.+-]*')
_STEP = re.compile(r'step_(\d+)\.png')


class Wanted(NamedTuple):
  """The repository of a shared model, and the parts of the model to share.

  Attributes:
    repo: repository 'USER/NAME' on the Hugging Face Hub.
    license: licence identifier of the Hub, such as 'mit', or ''.
    generators_only: if True, networks other than generators are left out.
    samples: if True, the newest sample grid of the run is added, if there is
      one. The grid shows test pictures.
  """

  repo: str
  license: str = ''
  generators_only: bool = False
  samples: bool = True


def check(wanted: Wanted) -> None:
  """Raises `UserError` if the name of a repository or a licence is invalid.

  Args:
    wanted: the `Wanted`, whose `repo` and `license` are checked.
  """
  address.check_repo(wanted.repo, '--repo')
  if wanted.license and not _LICENSE.fullmatch(wanted.license):
    raise UserError(
      f'--license={wanted.license}: give an identifier of the Hub, such as '
      'mit, apache-2.0, cc-by-4.0 or other'
    )


def write(folder: pathlib.Path, model: Model, wanted: Wanted) -> list[str]:
  """Writes the files of a shared model: weights, config and model card.

  Args:
    folder: folder for the files, which is created if missing.
    model: a `Model` that `saved.load` returned. The facts about its data and
      its test figures are read from the folder that it was loaded from.
    wanted: the `Wanted`: repository, licence and parts to share.

  Returns:
    A list of the options that were changed because they are private; see
    `public`.

  Raises:
    UserError: the model has no generator, or a file cannot be written.
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
  """Removes from a config the facts about its author's machine.

  Paths become '', except addresses on the Hub. Logging options get their
  default values. A data.source that names a function of a recipe card keeps
  only the last part of its path (card.py:FUNCTION). A data.name that is not the
  name of a public dataset may be a path, and becomes ''.

  Args:
    config: all options, as nested dicts.

  Returns:
    (the new config as nested dicts, the list of options that changed). The list
    leaves out logging options.
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
  """Facts about a run, read from the folder that a model was loaded from.

  `pictures`, `rows` and `sample` return one fact each.

  A model from the Hub or from a single file has none of these facts.

  Attributes:
    step: training step of the model, or None if unknown.
  """

  def __init__(self, model):
    self._work, self.step = None, None
    if not address.is_address(model.name):
      path = files.followed(files.absolute(files.place(model.name)))
      self._work = Workdir(path) if path.is_dir() else None
    self._evaluation = _read(self._work and self._work.evaluation, dict)
    if self._work and self._work.has_checkpoints():
      self.step = model.step  # for official files model.step is an epoch
    elif isinstance(self._evaluation.get('step'), int):
      self.step = self._evaluation['step']  # the folder of a run's best weights

  def pictures(self):
    """Returns the contents of run.json, or {}."""
    return _read(self._work and self._work.run, dict)

  def rows(self):
    """Returns the rows of test figures of the model's weights, or []."""
    if self._evaluation and self._evaluation.get('step') == self.step:
      return _rows(self._evaluation.get('rows'))
    if self.step is None or self.step != self._newest():
      return []
    return _rows(_read(self._work.test_json, list))

  def sample(self):
    """Returns (step, path) of the newest sample grid up to `step`, or None."""
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
  """Returns the value in a JSON file, or `kind()` if it is not a `kind`."""
  try:
    content = json.loads(path.read_text()) if path else None
  except (OSError, ValueError):
    content = None
  return content if isinstance(content, kind) else kind()


def _rows(rows):
  if not isinstance(rows, list):
    return []
  return [x for x in rows if isinstance(x, dict) and 'direction' in x]
