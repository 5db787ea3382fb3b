"""Tests of checkpoints: damage is found, intact checkpoints are kept."""

import resource

import jax
import numpy as np
import pytest
import tiny

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training import parallel
from cyclegan_jax.training.checkpoint import Checkpoints, SaveError


@pytest.fixture(scope='module')
def state():
  mesh = parallel.make_mesh(1)
  made = tiny.create(tiny.method(), tiny.optimizers('adam'))
  return parallel.replicate(made, mesh)


def at(state, step):
  """Returns the state with values that depend on the step."""
  params = jax.tree.map(lambda x: x + step, state.params)
  return state.replace(step=state.step + step, params=params)


def saved(folder, state, steps=(1, 2, 3), **options):
  checkpoints = Checkpoints(folder, **options)
  for step in steps:
    checkpoints.save(step, at(state, step))
  checkpoints.close()
  return folder


def restored(folder, state):
  """Returns the restored state and the printed lines."""
  said = []
  checkpoints = Checkpoints(folder)
  result = checkpoints.restore(state, said.append)
  checkpoints.close()
  return jax.device_get(result), said


def largest_file(folder):
  return max(
    (p for p in folder.rglob('*') if p.is_file()),
    key=lambda p: p.stat().st_size,
  )


def flip_bit(folder):
  path = largest_file(folder)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 16
  path.write_bytes(content)


def truncate(folder):
  path = largest_file(folder)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_a_file(folder):
  largest_file(folder).unlink()


def remove_the_record(folder):
  for path in (folder / 'record').rglob('*'):
    path.unlink()


def change_a_checksum(folder):
  (path,) = (folder / 'record').rglob('metadata')
  path.write_text(
    path.read_text().replace('"checksums": {"', '"checksums": {"x')
  )


def empty_it(folder):
  for path in sorted(folder.rglob('*'), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()


DAMAGES = [
  flip_bit,
  truncate,
  remove_a_file,
  remove_the_record,
  change_a_checksum,
  empty_it,
]


def test_the_newest_checkpoint_is_restored_bit_identically(state, tmp_path):
  result, said = restored(saved(tmp_path / 'c', state), state)
  tiny.assert_same(result, jax.device_get(at(state, 3)))
  assert said == []


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(
  damage, state, tmp_path
):
  folder = saved(tmp_path / 'c', state)
  damage(folder / '3')
  result, said = restored(folder, state)
  tiny.assert_same(result, jax.device_get(at(state, 2)))
  assert len(said) == 1 and f'{folder / "3"} is damaged' in said[0]
  assert (tmp_path / 'damaged' / '3').is_dir() and not (folder / '3').exists()


def test_two_damaged_checkpoints_can_be_replaced(state, tmp_path):
  folder = saved(tmp_path / 'c', state)
  for step in '23':
    truncate(folder / step)
  result, said = restored(folder, state)
  assert result.step == 1 and len(said) == 2
  saved(folder, state, steps=(2, 3))
  truncate(folder / '3')
  assert restored(folder, state)[0].step == 2
  assert {p.name for p in (tmp_path / 'damaged').iterdir()} == {
    '2',
    '3',
    '3_again',
  }


def test_only_damaged_checkpoints_are_refused_and_not_moved(state, tmp_path):
  folder = saved(tmp_path / 'c', state)
  for step in '123':
    flip_bit(folder / step)
  with pytest.raises(UserError, match='no checkpoint.*can be read.*--workdir'):
    restored(folder, state)
  assert sorted(p.name for p in folder.iterdir()) == ['1', '2', '3']


def test_half_written_checkpoints_are_deleted(state, tmp_path):
  folder = saved(tmp_path / 'c', state)
  half = folder / '4.orbax-checkpoint-tmp'
  (half / 'state').mkdir(parents=True)
  assert restored(folder, state)[0].step == 3
  assert not half.exists()


def test_the_newest_and_every_nth_checkpoint_are_kept(state, tmp_path):
  folder = saved(tmp_path / 'c', state, steps=range(1, 9), keep=2, keep_every=3)
  assert sorted(int(p.name) for p in folder.iterdir()) == [3, 6, 7, 8]


def test_a_full_disk_is_one_line_and_keeps_old_checkpoints(state, tmp_path):
  folder = saved(tmp_path / 'c', state, steps=(1,))
  checkpoints = Checkpoints(folder)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  # Acts like a disk with 2 kB left.
  resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
  try:
    line = f'{folder} .File too large.: .*continues from step 1'
    with pytest.raises(SaveError, match=line):
      checkpoints.save(2, at(state, 2))
      checkpoints.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert restored(folder, state)[0].step == 1


def test_a_vanished_folder_is_named_or_made_again(state, tmp_path):
  folder = saved(tmp_path / 'c', state, steps=(1,))
  checkpoints = Checkpoints(folder)
  folder.rename(tmp_path / 'elsewhere')
  try:
    checkpoints.save(2, at(state, 2))
    checkpoints.close()
  except SaveError as e:
    assert str(folder) in str(e)
  else:
    assert restored(folder, state)[0].step == 2
  assert restored(tmp_path / 'elsewhere', state)[0].step == 1


def test_a_checkpoint_of_other_networks_is_refused(state, tmp_path):
  folder = saved(tmp_path / 'c', state, steps=(1,))
  wider = tiny.method(make_generator=tiny.generator(width=6))
  other = tiny.create(wider, tiny.optimizers('adam'))
  with pytest.raises(UserError, match='other networks'):
    restored(folder, other)
  assert np.all(restored(folder, state)[0].step == 1)
