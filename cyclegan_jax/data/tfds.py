"""TensorFlow data sets as sources of pictures."""

import os
import textwrap

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, choose
from cyclegan_jax.data import pairs
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source


def tfds(
  root: str | os.PathLike[str], name: str, paired: str = 'auto'
) -> Source:
  """A TensorFlow data set `cycle_gan/NAME`, downloaded if it can be.

  TFDS mixes the pictures and drops their names, so no pairs are known.

  Args:
    root: TFDS's data_dir; empty for its default.
    name: such as 'cycle_gan/horse2zebra'.
    paired: 'auto' or 'no'.
  """
  if choose(pairs.PAIRED, paired, 'data.paired') == 'yes':
    raise UserError(
      'data.paired=yes: TFDS does not tell which pictures are pairs, leave it '
      'at auto, or use data.source=folder or aligned'
    )
  import tensorflow_datasets  # slow to import, so only where it is used
  from tensorflow_datasets.core.download import downloader

  import cyclegan_jax.data.tf  # noqa: F401, keeps TensorFlow off accelerators

  downloader.MAX_RETRIES = 5  # 10 keep a user without network for minutes
  try:
    data_dir = files.expanded(root) if root else None
    builder = tensorflow_datasets.builder(name, data_dir=data_dir)
  except Exception as e:
    raise UserError(
      f'data.name={name!r} is no TFDS data set: {_first_line(e)}'
    ) from e
  try:
    builder.download_and_prepare()
    sets = builder.as_dataset(
      decoders={'image': tensorflow_datasets.decode.SkipDecoding()}
    )
  except Exception as e:  # network, disk, checksum: TFDS raises all kinds
    reason = textwrap.shorten(f'{type(e).__name__}: {e}', 120)
    raise UserError(
      f'{name} is not in {builder.data_dir} and could not be downloaded '
      f'({reason}): run "tfds build {name}" where there is a network and set '
      'data.root, or use configs/folder.py with your own pictures, or '
      'configs/satellite2map.py, which needs neither'
    ) from e
  if not {'trainA', 'trainB', 'testA', 'testB'} <= set(sets):
    raise UserError(
      f'{name} (data.name) has no splits trainA, trainB, testA and testB: '
      'choose a set cycle_gan/NAME'
    )

  def pictures(split):
    return [
      Picture(f'{name} {split} {i}', example['image'])
      for i, example in enumerate(sets[split].as_numpy_iterator())
    ]

  return Source(
    train={d: pictures(f'train{d.upper()}') for d in ('a', 'b')},
    test={d: pictures(f'test{d.upper()}') for d in ('a', 'b')},
    pairs_note='TFDS does not tell which pictures are pairs',
  )


def _first_line(error):
  return (str(error).strip() or type(error).__name__).splitlines()[0]
