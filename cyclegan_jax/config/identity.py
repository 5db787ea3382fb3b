"""Settings and pictures of a run: written to its folder, and compared later."""

import importlib.metadata
import json
import pathlib
import platform
import subprocess
import zlib

import jax

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.unused import unused
from cyclegan_jax.defaults import DEFAULTS, MAY_CHANGE
from cyclegan_jax.training import processes
from cyclegan_jax.training.workdir import Workdir

# Counted up when a run of before can no longer be continued.
FORMAT = 1


def begin(workdir, config, source):
  """Checks that a run goes on as it began, and writes what ran, on what.

  Writes config.json, run.json (the format, and the training pictures as counts
  and checksums of their names) and environment.json.

  Args:
    workdir: the run's folder.
    config: the config it is to go on with, or to begin with.
    source: the `Source` of its pictures.

  Raises:
    UserError: there are checkpoints of other settings or pictures, or of a
      version of this project whose runs can't be continued.
  """
  now = {'format': FORMAT, 'pictures': _pictures(source)}
  config, work = config.to_dict(), Workdir(workdir)
  with processes.together():
    if work.has_checkpoints():
      _check_unchanged(work, config, now)
  processes.check_same({'training pictures': json.dumps(now)})
  if not hosts.writes():
    return
  for path, content in (
    (work.config, config),
    (work.run, now),
    (work.environment, _environment()),
  ):
    files.write(path, json.dumps(content, indent=2) + '\n')


def _check_unchanged(work, config, now):
  before = _read(work.run)
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
    if old.get(key) != new.get(key) and not key.startswith(MAY_CHANGE)
  ]
  pictures = before['pictures']
  changes += [
    f'{there["count"]} training pictures of {domain.upper()} are not the '
    f'{pictures[domain]["count"]} of before'
    for domain, there in now['pictures'].items()
    if there != pictures[domain]
  ]
  if changes:
    raise UserError(
      f'{work.path} (--workdir) holds a run of other settings '
      f'({"; ".join(changes)}): use those, or another --workdir'
    )


def _pictures(source):
  """{domain: count and checksum of the names} of the training pictures."""
  names = {
    domain: [pathlib.PurePath(p.name).name for p in pictures]
    for domain, pictures in source.train.items()
  }
  return {
    domain: {'count': len(x), 'names': zlib.crc32('/'.join(x).encode())}
    for domain, x in names.items()
  }


def _read(path):
  """The contents of a JSON file; nothing if there is none that can be read."""
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return {}


def _environment():
  return {
    'git_commit': _git_commit(),
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


def _git_commit():
  """The commit of this code, '+changes' if it was changed; None without git."""
  folder = pathlib.Path(__file__).parent

  def git(*args):
    return subprocess.run(
      ['git', '-C', folder, *args], capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    changes = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('+changes' if changes else '')
  except (OSError, subprocess.CalledProcessError):
    return None
