"""Saving and restoring the train state; the only file that imports orbax."""

import jax
import orbax.checkpoint as ocp

from cyclegan_jax.errors import UserError


class Checkpoints:
  """The checkpoints of a run, saved in the background, each whole or absent."""

  def __init__(self, folder, keep=3):
    """Opens or makes `folder` (absolute), which holds the newest `keep`."""
    self._folder = folder
    self._manager = ocp.CheckpointManager(
      folder,
      item_handlers={'state': ocp.StandardCheckpointHandler()},
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep, enable_async_checkpointing=True
      ),
    )

  def latest_step(self):
    """The newest step saved, or None."""
    return self._manager.latest_step()

  def copy(self, state):
    """A copy to save later, while the state itself is donated."""
    return jax.tree.map(lambda x: x.copy(), state)

  def save(self, step, state):
    """Starts to save, unless it was saved; the state must not be donated."""
    if step != self._manager.latest_step():
      self._manager.save(
        step, args=ocp.args.Composite(state=ocp.args.StandardSave(state))
      )

  def restore(self, like):
    """The newest state.

    Args:
      like: a state of the same shapes, on the devices to restore to.

    Raises:
      UserError: what is saved is the state of other networks.
    """
    step = self._manager.latest_step()
    if _shapes(self._manager.item_metadata(step)['state'].tree) != _shapes(
      like
    ):
      raise UserError(
        f'{self._folder} holds a run of other networks than this config '
        'asks for: use another --workdir, or the config it was started with'
      )
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = self._manager.restore(
      step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
    )
    return restored['state']

  def close(self):
    """Waits for what is being saved."""
    self._manager.wait_until_finished()
    self._manager.close()


def _shapes(tree):
  """Shape of each array by its path, the same for states and metadata."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.shape
    for path, leaf in leaves
  }
