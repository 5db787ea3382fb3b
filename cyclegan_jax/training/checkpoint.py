"""Saving and restoring the train state; the only file that imports orbax."""

import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from cyclegan_jax.common import disk, files, hosts
from cyclegan_jax.common.errors import UserError


class SaveError(UserError):
  """A checkpoint could not be written; those before it are whole."""


class Checkpoints:
  """The checkpoints of a run, saved in the background, each whole or absent.

  Each holds the state and the checksums of its arrays, which are compared when
  it is read.
  """

  def __init__(self, folder, keep=3, keep_every=0):
    """Opens or makes `folder` (absolute).

    Args:
      folder: holds a folder a step, named by it.
      keep: how many of the newest to keep.
      keep_every: also keep every step that this divides; 0 keeps no others.

    Raises:
      UserError: the folder can't be made.
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
          cleanup_tmp_directories=True,  # of killed processes
        ),
      )

  def latest_step(self):
    """The newest step saved, or None."""
    return self._manager.latest_step()

  def preempted(self, step):
    """Whether all processes are to stop at this step, once one is told to."""
    return self._manager.reached_preemption(step)

  def copy(self, state):
    """A copy to save later, while the state itself is donated."""
    return jax.tree.map(lambda x: x.copy(), state)

  def save(self, step, state):
    """Starts to save, unless it was saved; the state must not be donated.

    Raises:
      SaveError: this one or the one before could not be written.
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
    except Exception as e:  # file systems, tensorstore, orbax: all kinds
      raise self._save_error(e) from e

  def restore(self, like, say=print):
    """The newest state that is whole; damaged ones behind it are set aside.

    Args:
      like: a state of the same shapes, on the devices to restore to.
      say: tells the user a line.

    Raises:
      UserError: what is saved is the state of other networks, or nothing of
        it can be read.
    """
    damaged = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        state = self._read(step, like)
      except UserError:
        raise
      except Exception as e:  # as above
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
      f'no checkpoint in {self._folder} can be read ({reasons}): put a whole '
      'one back, or start again with another --workdir'
    )

  def close(self):
    """Waits for what is being saved.

    Raises:
      SaveError: it could not be written.
    """
    try:
      try:
        self._manager.wait_until_finished()
      finally:
        self._manager.close()  # raises it once more
    except Exception as e:  # as above
      raise self._save_error(e) from e

  def _read(self, step, like):
    if _shapes(self._manager.item_metadata(step)['state'].tree) != _shapes(
      like
    ):
      raise UserError(
        f'{self._folder} holds a run of other networks than this config '
        'asks for: use another --workdir, or the config it was started with'
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
    """Moves a step out of the way, so that it can be saved again."""
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
    return SaveError(
      f'cannot save a checkpoint in {self._folder} ({disk.told(error)}): make '
      'room or make it writable, then run the same command; it continues from '
      f'step {self._manager.latest_step() or 0}'
    )


def read_params(folder, step=None):
  """What a run has learned, read beside the run, which may go on.

  Args:
    folder: the checkpoints of a run, absolute.
    step: a step saved; None for the newest that is whole.

  Returns:
    The step, and {'gen', 'disc'}: parameters as numpy arrays, those of the
    generators averaged where the run averages them.

  Raises:
    UserError: there is no such step, or it can't be read.
  """
  steps = sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
  if not steps:
    raise UserError(f'no checkpoint in {folder}: train first')
  if step is not None and step not in steps:
    there = ', '.join(map(str, steps))
    raise UserError(f'no checkpoint of step {step} in {folder}: it has {there}')
  jax.devices()  # a platform that cannot start is no damaged checkpoint
  reasons = []
  for number in reversed(steps) if step is None else [step]:
    try:
      state = _read_raw(folder / str(number))
    except Exception as e:  # file systems, tensorstore, orbax: all kinds
      reasons.append(f'{number}: {" ".join(str(e).split())[:80]}')
      continue
    return number, {
      'gen': state.get('ema') or state['params']['gen'],
      'disc': state['params']['disc'],
    }
  raise UserError(
    f'no checkpoint in {folder} can be read ({"; ".join(reasons)}): train on '
    'from one that is whole'
  )


def _read_raw(folder):
  """The arrays of a checkpoint as it was saved; raises what goes wrong."""
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
  """Orbax's options for a process that does not wait for the others."""
  if not hosts.several():
    return ocp.options.MultiprocessingOptions()
  me = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'read_{me}'
  )


def _compare(state, expected):
  """Raises `ValueError` for the first array whose checksum differs."""
  actual = _checksums(state)
  wrong = [name for name in actual if actual[name] != expected.get(name)]
  if wrong:
    raise ValueError(f'checksum of {wrong[0]} differs')


def _checksums(state):
  """CRC-32 of each array's bytes by its path."""
  return {
    path: zlib.crc32(np.ascontiguousarray(x).tobytes())
    for path, x in _leaves(state).items()
  }


def _shapes(tree):
  """Shape of each array by its path, the same for states and metadata."""
  return {path: leaf.shape for path, leaf in _leaves(tree).items()}


def _leaves(tree):
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }
