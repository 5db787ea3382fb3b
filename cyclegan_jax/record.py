"""What a run writes about itself, and what it says at the end."""

import importlib.metadata
import json
import pathlib
import platform
import subprocess

import jax

from cyclegan_jax import evaluation
from cyclegan_jax.errors import UserError


def open_workdir(workdir):
  """Makes the folder of a run.

  Raises:
    UserError: it can't be made or written.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / '.write_test'
    probe.touch()
    probe.unlink()
  except OSError as e:
    raise UserError(
      f'cannot write to {workdir} (--workdir): {e.strerror}'
    ) from e


def write(workdir, config):
  """Writes config.json and environment.json: what ran, on what."""
  text = json.dumps(config.to_dict(), indent=2)
  (workdir / 'config.json').write_text(text + '\n')
  environment = {
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
  (workdir / 'environment.json').write_text(
    json.dumps(environment, indent=2) + '\n'
  )


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


def report(result, work, last_step):
  """Says how a run ended and where its results are; returns the exit code."""
  if result.step < last_step:
    print(
      f'stopped and saved at step {result.step} of {last_step}: '
      'run the same command to continue'
    )
    return 128 + (result.signal or 2)
  print(f'finished: all {last_step} steps are done, in {work.path}')
  if result.rows:
    print('\nTest pictures against their true pairs, on [-1, 1]:')
    print(evaluation.markdown(result.rows))
    print(f'test figures:    {work.test_markdown}')
  if work.last_sample():
    print(f'sample picture:  {work.last_sample()}')
  print(f'TensorBoard:     tensorboard --logdir {work.tensorboard}')
  return 0
