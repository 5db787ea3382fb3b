"""Records of a run's settings and pictures, and their check at a resume."""

import contextlib
import importlib.metadata
import json
import pathlib
import platform

import jax

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import code_version, new_folder, paths, pictures
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.unused import unused
from cyclegan_jax.data import fingerprint
from cyclegan_jax.defaults import DEFAULTS, MAY_CHANGE, PATHS
from cyclegan_jax.training import processes
from cyclegan_jax.training.workdir import Workdir

# Increased when runs of earlier versions can no longer be resumed.
FORMAT = 1


def begin(workdir, config, source, say=print):
  """Checks that a run may be started or resumed, and writes its records.

  The records are config.json, run.json (format number, and counts and digests
  of the training and test pictures), pictures.json (names, sizes and checksums
  of all pictures) and environment.json. If the test pictures of a resumed run
  have changed, earlier test results are marked as outdated.

  Args:
    workdir: the run folder.
    config: the ConfigDict of the new or resumed run.
    source: the `data.source.Source` of the run's pictures.
    say: function that prints a line.

  Raises:
    UserError: the run folder has checkpoints that were trained with other
      settings or pictures, or by an incompatible version of this package.
  """
  listing = fingerprint.listing(source)
  now = {'format': FORMAT} | pictures.facts(source, listing)
  config, work = paths.recorded(config.to_dict()), Workdir(workdir)
  with processes.together():
    before = _read(work.run)
    then = pictures.Before(before, _read(_listing_of(work)))
    if work.has_checkpoints():
      _check_unchanged(work, before, config, then.other_training(now, listing))
  processes.check_same(
    {
      'training pictures': json.dumps(now['pictures']),
      'test pictures': json.dumps(now['tests']),
    }
  )
  if not hosts.writes():
    return
  change = work.has_checkpoints() and then.other_tests(now, listing)
  if change:
    _forget_tests(work)
    say(
      f'note: the test pictures have changed since the run started ({change}): '
      'samples and test results from now on use the new ones'
    )
  files.write(_listing_of(work), json.dumps(listing, separators=(',', ':')))
  for path, content in (
    (work.config, config),
    (work.run, now),
    (work.environment, _environment()),
  ):
    files.write(path, json.dumps(content, indent=2) + '\n')


def other_tests(workdir, source):
  """Compares test pictures with those recorded by a run.

  Args:
    workdir: the run folder. A folder or file that is no run is allowed.
    source: the `data.source.Source` of the test pictures.

  Returns:
    The first difference in words; '' if there is none, or if no test pictures
    are recorded.
  """
  work = Workdir(workdir)
  before = _read(work.run)
  if 'tests' not in before:
    return ''
  listing = fingerprint.listing(source)
  then = pictures.Before(before, _read(_listing_of(work)))
  return then.other_tests(pictures.facts(source, listing), listing)


@contextlib.contextmanager
def unusable_noted(workdir, source):
  """Context that records, in run.json, the training picture that stops a run.

  The user can then repair this file: a resumed run accepts its new contents.

  Args:
    workdir: the run folder.
    source: the `data.source.Source` of the run's pictures.

  Raises:
    UserError: the error raised in the body, unchanged. The picture is the one
      whose name the message begins with.
  """
  try:
    yield
  except UserError as e:
    names = {
      fingerprint.name_of(picture, source.root)
      for domain in source.train.values()
      for picture in domain
      if str(e).startswith(f'{picture.name}: ')
    }
    if names:
      path = Workdir(workdir).run
      content = _read(path)
      content['unusable'] = sorted(names.union(content.get('unusable', [])))
      files.write(path, json.dumps(content, indent=2) + '\n')
    raise


def _check_unchanged(work, before, config, other_pictures):
  """Raises `UserError` if a run cannot be resumed with a config.

  Args:
    work: the `Workdir` of the run.
    before: contents of its run.json.
    config: the new config, as nested dicts.
    other_pictures: lines on training pictures that have changed.
  """
  if before.get('format') != FORMAT:
    raise UserError(
      f'{work.path} (--workdir) was started by an incompatible version of '
      'cyclegan_jax: use that version, or another --workdir'
    )
  old, new = DEFAULTS | flatten(_read(work.config)), flatten(config)
  # Earlier versions accepted any value for options that are not used.
  idle = unused(old).keys() & unused(new).keys()
  changes = [
    f'{key} was {old.get(key)!r}, is {new.get(key)!r}'
    for key in sorted((old | new).keys() - idle)
    if not key.startswith(MAY_CHANGE)
    and not _same(key, old.get(key), new.get(key))
  ]
  other = [*other_pictures]
  if changes or other:
    kinds = ['settings'] * bool(changes) + ['pictures'] * bool(other)
    raise UserError(
      f'{work.path} (--workdir) holds a run with other {" and ".join(kinds)} '
      f'({"; ".join(changes + other)}): use those of the run, or '
      f'{new_folder.advice(work, old, new)}'
    )


def _forget_tests(work):
  """Marks the test results and the best weights of a run as outdated.

  The run then evaluates the new test pictures, and compares later weights only
  with each other.
  """
  work.forget_test()
  path = files.resolved(work.best) / 'evaluation.json'
  if content := _read(path):
    content['best'] = f'{content.get("best")}, on earlier test pictures'
    files.write(path, json.dumps(content, indent=2) + '\n')


def _same(key, old, new):
  """Returns True if two values of an option mean the same; paths may move."""
  if key == 'data.source':  # the recipe card may have moved
    old, new = (pathlib.PurePath(str(x)).name for x in (old, new))
  return paths.same(old, new) if key in PATHS else old == new


def _listing_of(work):
  return work.path / 'pictures.json'


def _read(path):
  """Returns the dict in a JSON file, or {} if it cannot be read."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}


def _environment():
  """Returns the contents of environment.json: versions, platform, devices."""
  return {
    **code_version.facts(),
    'python': platform.python_version(),
    'platform': platform.platform(),
    'devices': [str(d) for d in jax.devices()],
    'packages': {
      d.name: d.version
      for d in sorted(
        importlib.metadata.distributions(), key=lambda d: d.name.lower()
      )
    },
  }
