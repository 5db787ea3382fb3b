"""Logger for Weights & Biases. No other file imports wandb.

The environment variables WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME, WANDB_MODE
and WANDB_DIR set the project, entity, name, mode and folder of the wandb run.
"""

import hashlib
import json
import os
import secrets
import shlex

from cyclegan_jax.common import disk, files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training.loggers.base import Logger

_PROJECT = 'cyclegan_jax'  # unless WANDB_PROJECT names another
_INIT_TIMEOUT = 30.0  # seconds
_FINISH_TIMEOUT = 60.0
_FLUSH_INTERVAL = 1.0


def _check():
  """Raises `UserError` if wandb cannot start or would ask for an API key."""
  import wandb

  try:
    wandb.setup(wandb.Settings(silent=True))
    asks = wandb.setup().settings.mode not in ('offline', 'dryrun', 'disabled')
    logged_in = not asks or wandb.login(prompt=False, verify=False)
  except Exception as e:  # wandb raises many kinds of errors
    raise UserError(
      f'log.to=wandb: wandb does not start ({disk.told(e)}): correct its '
      'settings, or remove wandb from log.to'
    ) from e
  if not logged_in:
    raise UserError(
      'log.to=wandb: not logged in: run `wandb login`, or set '
      'WANDB_MODE=offline'
    )


def _open(work, start_step, options, say):
  return _Wandb(work, start_step, dict(options), say)


LOGGER = Logger(_open, ('wandb',), 'wandb', _check)


class _Wandb:
  """Logger that writes to one wandb run, also when the training is resumed.

  The methods are those that `loggers.base.Logger` describes.

  wandb accepts only increasing steps, but a killed training repeats the steps
  after its newest checkpoint. Therefore wandb_run.json holds the last step that
  was sent to wandb, and steps up to that one are not sent again. Their metrics
  would be the same. The file is written before the step is sent, so that no
  step is ever sent twice. If the process is killed in between, or within about
  a second before wandb's own process has written the step, then this step is
  missing in wandb. metrics.jsonl still has its metrics.

  All values of a step are collected and sent together, when the next step
  begins or `flush` is called. Values that a killed process had collected are
  sent after the run is resumed.

  If wandb fails, a warning is printed, and the training continues without it.
  """

  def __init__(self, work, start_step, options, say):
    self._say = say
    self._path = work.path / 'wandb_run.json'
    self._state = _state(self._path, start_step, options)
    self._step, self._row = 0, {}
    files.write(self._path, json.dumps(self._state) + '\n')
    self._run = self._begin(work.path, options)

  def numbers(self, step, metrics, speed):
    self._add(step, metrics | speed)

  def picture(self, step, picture):
    import wandb

    if self._run:
      image = self._safely(lambda: wandb.Image(picture))
      self._add(step, {'samples': image})

  def flush(self):
    """Sends the collected values of the newest step to wandb."""
    row, self._row = self._row, {}
    if not row or not self._run:
      return
    self._state['last'] = self._step
    files.write(self._path, json.dumps(self._state) + '\n')
    self._safely(lambda: self._run.log(row, step=self._step, commit=True))

  def close(self, code):
    """Flushes, waits a limited time for uploads, and ends wandb's process.

    Args:
      code: exit code of this process, by which wandb marks the run as finished
        or failed.
    """
    import wandb

    self.flush()
    if self._run:
      self._safely(lambda: self._run.finish(exit_code=code))
    self._safely(wandb.teardown)
    self._run = None

  def _add(self, step, values):
    """Collects values of a step, unless the step was sent before."""
    if step <= self._state['last']:
      return
    if step != self._step:
      self.flush()
    self._step = step
    self._row |= values

  def _begin(self, folder, options):
    """Opens the wandb run, offline if needed; returns None if this fails."""
    return self._safely(lambda: self._online(folder, options))

  def _online(self, folder, options):
    """Opens the wandb run, or an offline run if wandb cannot be reached."""
    try:
      run = _init(folder, self._state['id'])
    except Exception as e:  # see `_check`
      self._say(
        f'warning: wandb cannot be reached ({disk.told(e)}): the run is '
        'logged offline until it is resumed'
      )
      run = _init(folder, self._state['id'], mode='offline')
    run.config.update(options, allow_val_change=True)
    if run.offline:
      sessions = shlex.quote(os.path.dirname(run.settings.sync_dir))
      self._say(
        'wandb: the run is offline; upload it later with: '
        f'wandb sync {sessions}/offline-run-*-{run.id}'
      )
    elif run.url:
      self._say(f'wandb: {run.url}')
    return run

  def _safely(self, call):
    """Returns the result of `call()`; if it fails, warns and stops logging."""
    try:
      return call()
    except Exception as e:  # see `_check`
      self._run = None
      self._say(
        f'warning: wandb: {disk.told(e)}: the training continues without it'
      )
      return None


def _state(path, start_step, options):
  """Reads wandb_run.json, or makes the content for a new wandb run.

  A training that starts at step 0 with other options gets a new wandb run.

  Returns:
    {'id': of the wandb run, 'options': digest of the options, 'last': the last
    step that was sent}.
  """
  text = json.dumps(options, sort_keys=True, default=str)
  digest = hashlib.sha256(text.encode()).hexdigest()[:16]
  new = {'id': secrets.token_hex(4), 'options': digest, 'last': 0}
  try:
    state = json.loads(path.read_text())
    known = isinstance(state['id'], str) and isinstance(state['last'], int)
  except (OSError, ValueError, KeyError, TypeError):
    return new
  same = start_step > 0 or state.get('options') == digest
  return state | {'options': digest} if known and same else new


def _init(folder, name, **mode):
  """Calls `wandb.init` for the wandb run with the id `name`."""
  import wandb

  return wandb.init(
    id=name,
    resume='allow',
    project=_unless('WANDB_PROJECT', _PROJECT),
    name=_unless('WANDB_NAME', folder.name),
    # For a run folder in a bucket, this is a temporary folder on this host.
    dir=_unless('WANDB_DIR', str(files.own(folder, 'wandb').parent)),
    settings=wandb.Settings(
      silent=True,
      console='off',  # wandb must not capture the terminal
      init_timeout=_INIT_TIMEOUT,
      finish_timeout=_FINISH_TIMEOUT,
      finish_timeout_raises=True,
      x_transaction_log_flush_interval=_FLUSH_INTERVAL,
    ),
    **mode,
  )


def _unless(variable, value):
  """Returns None if the environment variable is set, else `value`."""
  return None if os.environ.get(variable) else value
