"""Settings and pictures of a run: written to its folder, and compared later."""

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

# Counted up when a run of before can no longer be continued.
FORMAT = 1


def begin(workdir, config, source, say=print):
  """Checks that a run goes on as it began, and writes what ran, on what.

  Writes config.json, run.json (the format, and counts and digests of training
  and test pictures), pictures.json (names, sizes and checksums of the pictures)
  and environment.json. Where the test pictures are others than before, forgets
  what was measured on those.

  Args:
    workdir: the run's folder.
    config: the config it is to go on with, or to begin with.
    source: the `Source` of its pictures.
    say: prints a line to the user.

  Raises:
    UserError: there are checkpoints of other settings or pictures, or of a
      version of this project whose runs can't be continued.
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
      f'note: the test pictures are not those of before ({change}): samples '
      'and test figures are made anew from here on'
    )
  files.write(_listing_of(work), json.dumps(listing, separators=(',', ':')))
  for path, content in (
    (work.config, config),
    (work.run, now),
    (work.environment, _environment()),
  ):
    files.write(path, json.dumps(content, indent=2) + '\n')


def other_tests(workdir, source):
  """Compares test pictures with those of a run, as far as it tells.

  Args:
    workdir: the run's folder, or another folder or file.
    source: the `Source` of the test pictures.

  Returns:
    The first difference in words, or ''.
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
  """Notes the training picture that stops a run, if one does.

  Saved anew it has other contents, and the run continues all the same.

  Args:
    workdir: the run's folder.
    source: the `Source` of its pictures.

  Raises:
    UserError: as what is done here; it begins with the picture's name.
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
  if before.get('format') != FORMAT:
    raise UserError(
      f'{work.path} (--workdir) was begun by another version of cyclegan_jax: '
      'go on with that one, or use another --workdir'
    )
  old, new = DEFAULTS | flatten(_read(work.config)), flatten(config)
  # An earlier version let pass what makes no difference.
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
      f'{work.path} (--workdir) holds a run of other {" and ".join(kinds)} '
      f'({"; ".join(changes + other)}): use those, or '
      f'{new_folder.advice(work, old, new)}'
    )


def _forget_tests(work):
  """Has test figures measured anew, and the best weights sought anew."""
  work.forget_test()
  path = files.resolved(work.best) / 'evaluation.json'
  if content := _read(path):
    content['best'] = f'{content.get("best")}, on test pictures of before'
    files.write(path, json.dumps(content, indent=2) + '\n')


def _same(key, old, new):
  if key == 'data.source':  # a recipe card may have moved
    old, new = (pathlib.PurePath(str(x)).name for x in (old, new))
  return paths.same(old, new) if key in PATHS else old == new


def _listing_of(work):
  return work.path / 'pictures.json'


def _read(path):
  """The contents of a JSON file; nothing if there is none that can be read."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}


def _environment():
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
