"""Weights & Biases; the only file that imports wandb.

The variables WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME, WANDB_MODE and WANDB_DIR
set what their names say.
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
  """Raises `UserError` if wandb would ask for an API key."""
  import wandb

  try:
    wandb.setup(wandb.Settings(silent=True))
    asks = wandb.setup().settings.mode not in ('offline', 'dryrun', 'disabled')
    logged_in = not asks or wandb.login(prompt=False, verify=False)
  except Exception as e:  # wandb's own, of many kinds
    raise UserError(
      f'log.to=wandb: wandb does not start ({disk.told(e)}): mend its '
      'settings, or leave wandb out of log.to'
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
  """One run of wandb's, however often the training is stopped and continued.

  wandb cannot take a step back, and a killed run is trained again from its
  newest checkpoint. wandb_run.json therefore holds the newest step that wandb
  was given, and steps up to that one are left out: the training gives the same
  numbers again. The file is written before wandb is given the step, so no
  step is ever given twice. A process that is killed in between, or before
  wandb's own process has written what it was given (about a second), leaves a
  gap there, and metrics.jsonl has the numbers.

  The parts of a step are collected and given to wandb together, when the next
  step begins or by `flush`. Those of a killed process were not counted as
  given.

  A failure of wandb ends the logging to it with a warning, not the training.
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
    """Gives wandb what is collected of the newest step."""
    row, self._row = self._row, {}
    if not row or not self._run:
      return
    self._state['last'] = self._step
    files.write(self._path, json.dumps(self._state) + '\n')
    self._safely(lambda: self._run.log(row, step=self._step, commit=True))

  def close(self, code):
    """Ends wandb's process too; waits for uploads, but not for ever."""
    import wandb

    self.flush()
    if self._run:
      self._safely(lambda: self._run.finish(exit_code=code))
    self._safely(wandb.teardown)
    self._run = None

  def _add(self, step, values):
    if step <= self._state['last']:
      return
    if step != self._step:
      self.flush()
    self._step = step
    self._row |= values

  def _begin(self, folder, options):
    """The run, offline where wandb cannot be reached; None if it fails."""
    return self._safely(lambda: self._online(folder, options))

  def _online(self, folder, options):
    try:
      run = _init(folder, self._state['id'])
    except Exception as e:  # wandb's own, of many kinds
      self._say(
        f'warning: wandb cannot be reached ({disk.told(e)}): this part of the '
        'run is logged offline'
      )
      run = _init(folder, self._state['id'], mode='offline')
    run.config.update(options, allow_val_change=True)
    if run.offline:
      sessions = shlex.quote(os.path.dirname(run.settings.sync_dir))
      self._say(
        'wandb: offline, to upload it: '
        f'wandb sync {sessions}/offline-run-*-{run.id}'
      )
    elif run.url:
      self._say(f'wandb: {run.url}')
    return run

  def _safely(self, call):
    try:
      return call()
    except Exception as e:  # wandb's own, of many kinds
      self._run = None
      self._say(
        f'warning: wandb: {disk.told(e)}: the training continues without it'
      )
      return None


def _state(path, start_step, options):
  """{'id', 'options', 'last'} of wandb's run to continue, or of a new one.

  A training that begins anew with other options is another run.
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
  import wandb

  return wandb.init(
    id=name,
    resume='allow',
    project=_unless('WANDB_PROJECT', _PROJECT),
    name=_unless('WANDB_NAME', folder.name),
    # Of a folder in a bucket: among this machine's temporary files.
    dir=_unless('WANDB_DIR', str(files.own(folder, 'wandb').parent)),
    settings=wandb.Settings(
      silent=True,
      console='off',  # the terminal is not wandb's to read
      init_timeout=_INIT_TIMEOUT,
      finish_timeout=_FINISH_TIMEOUT,
      finish_timeout_raises=True,
      x_transaction_log_flush_interval=_FLUSH_INTERVAL,
    ),
    **mode,
  )


def _unless(variable, value):
  """The value, or None where the user has set the variable of wandb's."""
  return None if os.environ.get(variable) else value
