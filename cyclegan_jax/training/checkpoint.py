"""Saves and restores the train state. No other file imports orbax."""

import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from cyclegan_jax.common import disk, files, hosts
from cyclegan_jax.common.errors import UserError


class SaveError(UserError):
  """A checkpoint could not be written. Earlier checkpoints are intact."""


class Checkpoints:
  """The checkpoints of a run, which are saved in the background.

  `save` writes a checkpoint, `restore` reads the newest one; call `close` last.

  A checkpoint is either complete or absent, never half written. It holds the
  train state and the checksums of the arrays, which are compared when the
  checkpoint is read.
  """

  def __init__(self, folder, keep=3, keep_every=0):
    """Opens the folder of a run's checkpoints and creates it if missing.

    Args:
      folder: absolute path of the folder. Each checkpoint is a subfolder whose
        name is the number of its step.
      keep: number of newest checkpoints to keep.
      keep_every: checkpoints of steps divisible by this number are also kept;
        0 keeps none besides the newest.

    Raises:
      UserError: the folder cannot be created.
    """
    self._folder = folder
    with files.writing(folder):
      self._manager = ocp.CheckpointManager(
        folder,
        item_handlers={
          'state': ocp.StandardCheckpointHandler(),
          'record': ocp.JsonCheckpointHandler(),
        },
        options=ocp.CheckpointManagerOptions(
          max_to_keep=keep,
          keep_period=keep_every or None,
          enable_async_checkpointing=True,
          cleanup_tmp_directories=True,  # left by killed processes
        ),
      )

  def latest_step(self):
    """Returns the step of the newest checkpoint, or None if none exists."""
    return self._manager.latest_step()

  def preempted(self, step):
    """Returns True if all processes of a run must stop at this step.

    The processes agree on the step after one of them has received SIGTERM.

    Args:
      step: number of steps done; every process must call the method, with the
        same numbers.
    """
    return self._manager.reached_preemption(step)

  def copy(self, state):
    """Returns a copy of `state` that can be saved after `state` is donated.

    Args:
      state: a `TrainState`. A compiled step that it is donated to overwrites
        its arrays.
    """
    return jax.tree.map(lambda x: x.copy(), state)

  def save(self, step, state):
    """Starts to save the checkpoint of a step in the background.

    Does nothing if the newest checkpoint is of the same step.

    Args:
      step: number of steps done.
      state: the `TrainState` after that step, whose arrays are not yet donated.

    Raises:
      SaveError: this checkpoint or the previous one could not be written.
    """
    if step == self._manager.latest_step():
      return
    state = jax.device_get(state)
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          record=ocp.args.JsonSave({'checksums': _checksums(state)}),
        ),
      )
    except Exception as e:  # any error of file systems, tensorstore, orbax
      raise self._save_error(e) from e

  def restore(self, like, say=print):
    """Returns the state of the newest checkpoint that can be read.

    Newer checkpoints, which are damaged, are moved to the folder "damaged" of
    the run folder.

    Args:
      like: a `TrainState` with the shapes of the saved one, on the devices to
        restore to.
      say: prints a line to the user.

    Raises:
      UserError: a checkpoint has networks of other shapes than `like`, or no
        checkpoint can be read.
    """
    damaged = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        state = self._read(step, like)
      except UserError:
        raise
      except Exception as e:  # see `save`
        damaged[step] = ' '.join(str(e).split())[:80] or type(e).__name__
        continue
      for other, reason in damaged.items():
        say(
          f'checkpoint {self._folder / str(other)} is damaged ({reason}): '
          f'moved to {self._set_aside(other)}, going back to step {step}'
        )
      return state
    reasons = '; '.join(f'{step}: {reason}' for step, reason in damaged.items())
    raise UserError(
      f'no checkpoint in {self._folder} can be read ({reasons}): '
      'restore an intact one from a backup, or start again with another '
      '--workdir'
    )

  def close(self):
    """Waits until the checkpoint that is being saved is written.

    Raises:
      SaveError: the checkpoint could not be written.
    """
    try:
      try:
        self._manager.wait_until_finished()
      finally:
        self._manager.close()  # raises the same error again
    except Exception as e:  # see `save`
      raise self._save_error(e) from e

  def _read(self, step, like):
    """Returns the state of a step, or raises any error of reading it."""
    if _shapes(self._manager.item_metadata(step)['state'].tree) != _shapes(
      like
    ):
      raise UserError(
        f'{self._folder} holds a run with other networks than those of this '
        'config: use another --workdir, or the config of that run'
      )
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(target), record=ocp.args.JsonRestore()
      ),
    )
    state = restored['state']
    _compare(jax.device_get(state), restored['record']['checksums'])
    return state

  def _set_aside(self, step):
    """Moves a damaged checkpoint to "damaged" and returns its new path."""
    aside = self._folder.parent / 'damaged'
    with files.writing(aside):
      aside.mkdir(exist_ok=True)
      place = aside / f'{step}'
      while place.exists():
        place = place.with_name(place.name + '_again')
      if hosts.writes():
        (self._folder / str(step)).rename(place)
    hosts.wait_for_all(f'set aside {step}')
    self._manager.reload()
    return place

  def _save_error(self, error):
    """Returns the `SaveError` for an error of orbax or of the file system."""
    return SaveError(
      f'cannot save a checkpoint in {self._folder} ({disk.told(error)}): '
      'free space or make the folder writable, then run the same command; it '
      f'continues from step {self._manager.latest_step() or 0}'
    )


def read_params(folder, step=None):
  """Reads the trained parameters from a checkpoint of a run.

  The run may be training meanwhile.

  Args:
    folder: absolute path of the folder of the run's checkpoints.
    step: the step of the checkpoint to read; None for the newest checkpoint
      that can be read.

  Returns:
    (step, {'gen': params, 'disc': params}): the step of the checkpoint, and the
    parameters as NumPy arrays. 'gen' is the moving average of the generators'
    weights if the run keeps one.

  Raises:
    UserError: `folder` holds no checkpoint, none of `step`, or none that can be
      read.
  """
  steps = sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
  if not steps:
    raise UserError(f'no checkpoint in {folder}: train a model first')
  if step is not None and step not in steps:
    there = ', '.join(map(str, steps))
    raise UserError(
      f'no checkpoint of step {step} in {folder}: choose from {there}'
    )
  # Raises here if a platform cannot start: the checkpoints are not to blame.
  jax.devices()
  reasons = []
  for number in reversed(steps) if step is None else [step]:
    try:
      state = _read_raw(folder / str(number))
    except Exception as e:  # any error of file systems, tensorstore, orbax
      reasons.append(f'{number}: {" ".join(str(e).split())[:80]}')
      continue
    return number, {
      'gen': state.get('ema') or state['params']['gen'],
      'disc': state['params']['disc'],
    }
  raise UserError(
    f'no checkpoint in {folder} can be read ({"; ".join(reasons)}): '
    'restore an intact one from a backup, or train again'
  )


def _read_raw(folder):
  """Returns the arrays of a checkpoint in their saved structure.

  Raises:
    Exception: any error of orbax or of the file system, or a checksum that
      differs.
  """
  alone = {'multiprocessing_options': _alone()}
  with ocp.StandardCheckpointer(**alone) as checkpointer:
    state = checkpointer.restore(folder / 'state')
  record = ocp.JsonCheckpointHandler(**alone)
  with ocp.Checkpointer(record, **alone) as checkpointer:
    expected = checkpointer.restore(folder / 'record')['checksums']
  state = jax.tree.map(np.asarray, state)
  _compare(state, expected)
  return state


def _alone():
  """Returns orbax's options for a process that reads without the others."""
  if not hosts.several():
    return ocp.options.MultiprocessingOptions()
  me = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'read_{me}'
  )


def _compare(state, expected):
  """Raises `ValueError` if the checksum of any array is not as expected."""
  actual = _checksums(state)
  wrong = [name for name in actual if actual[name] != expected.get(name)]
  if wrong:
    raise ValueError(f'checksum of {wrong[0]} differs')


def _checksums(state):
  """Returns {path of the array: CRC-32 of its bytes}."""
  return {
    path: zlib.crc32(np.ascontiguousarray(x).tobytes())
    for path, x in _leaves(state).items()
  }


def _shapes(tree):
  """Returns {path: shape} of the arrays of a state or of orbax's metadata."""
  return {path: leaf.shape for path, leaf in _leaves(tree).items()}


def _leaves(tree):
  """Returns {path such as 'params/gen/a2b': leaf} of a tree."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }
