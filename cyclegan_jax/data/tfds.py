"""TensorFlow Datasets (TFDS) as a source of pictures."""

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
  """Returns the pictures of a dataset `cycle_gan/NAME` of TensorFlow Datasets.

  The dataset is downloaded if it is not in `root`. TFDS shuffles the pictures
  and drops their names, so no true pairs are known.

  Args:
    root: the data_dir of TFDS; empty for the default of TFDS.
    name: name of the dataset, such as 'cycle_gan/horse2zebra'.
    paired: value of data.paired, 'auto' or 'no'.

  Returns:
    The `Source` of the dataset. The pictures are held in memory as encoded
    bytes.

  Raises:
    UserError: `paired` is 'yes', the dataset is unknown, cannot be downloaded,
      or lacks a split trainA, trainB, testA or testB.
  """
  if choose(pairs.PAIRED, paired, 'data.paired') == 'yes':
    raise UserError(
      'data.paired=yes: TFDS does not tell which pictures are pairs: use '
      'data.paired=auto, or data.source=folder or aligned'
    )
  import tensorflow_datasets  # imported here because the import is slow
  from tensorflow_datasets.core.download import downloader

  import cyclegan_jax.data.tf  # noqa: F401, keeps TensorFlow off accelerators

  downloader.MAX_RETRIES = 5  # with 10, a user without network waits minutes
  try:
    data_dir = files.expanded(root) if root else None
    builder = tensorflow_datasets.builder(name, data_dir=data_dir)
  except Exception as e:
    raise UserError(
      f'data.name={name!r} is not a dataset of TFDS: {_first_line(e)}'
    ) from e
  try:
    builder.download_and_prepare()
    sets = builder.as_dataset(
      decoders={'image': tensorflow_datasets.decode.SkipDecoding()}
    )
  except Exception as e:  # TFDS raises many types: network, disk, checksum
    reason = textwrap.shorten(f'{type(e).__name__}: {e}', 120)
    raise UserError(
      f'{name} is not in {builder.data_dir} and could not be downloaded '
      f'({reason}): run "tfds build {name}" where there is a network and set '
      'data.root, or use configs/folder.py with your own pictures, or '
      'configs/satellite2map.py, which needs no download'
    ) from e
  if not {'trainA', 'trainB', 'testA', 'testB'} <= set(sets):
    raise UserError(
      f'{name} (data.name) has no splits trainA, trainB, testA and testB: '
      'choose a dataset cycle_gan/NAME'
    )

  def pictures(split):
    """Returns the pictures of a split, as encoded bytes."""
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
  """Returns the first line of an error's text; its type if there is none."""
  return (str(error).strip() or type(error).__name__).splitlines()[0]
