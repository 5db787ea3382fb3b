"""From picture files to their translations, batch by batch."""

import collections
import concurrent.futures
import math
import sys
from typing import NamedTuple

import jax
import psutil
from tqdm import tqdm

from cyclegan_jax.common import files, images
from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.inference import picture_files, tiled
from cyclegan_jax.inference.model import Model


class Way(NamedTuple):
  """How pictures are translated.

  Attributes:
    model: a `Model`.
    direction: 'a2b' or 'b2a'.
    reconstruct: whether to translate the translation back, too.
    joined: whether all goes into one picture, side by side.
    batch: pictures of one size to translate at a time, where memory allows.
    tile: whether to go through every picture by tiles.
    memory: bytes for a translation, beyond which it goes by tiles.
  """

  model: Model
  direction: str
  reconstruct: bool = False
  joined: bool = False
  batch: int = 4
  tile: bool = False
  memory: int = 2**32

  @property
  def channels(self):
    """Channels of the pictures that go in."""
    return self.model.channels[self.direction[0]]

  def fits(self, size):
    """Pictures of a size that go at a time; 0 where not even one does."""
    if self.tile:
      return 0
    networks = self.model.method.generators
    if self.direction not in networks:
      return self.batch
    one = tiled.whole_bytes(networks[self.direction], *size)
    return min(self.batch if self.model.joins else 1, self.memory // one)

  def bucket(self, size):
    """The size that pictures of a size are compiled for."""
    return images.padded_size(size, self.model.multiple)

  def run(self, pictures, count=0):
    """Translates pictures of one bucket.

    Args:
      pictures: [float32 [height, width, channels] in [-1, 1]].
      count: how many to translate at a time at least: fewer are filled up, so
        that nothing is compiled for them.

    Returns:
      For each the images made: the translation and, if asked for, the
      reconstruction.
    """
    made = [self._translate(pictures, self.direction, count)]
    if self.reconstruct:
      made.append(self._translate(made[0], opposite(self.direction), count))
    return list(zip(*made))

  def _translate(self, pictures, direction, count):
    if not self.fits(pictures[0].shape[:2]):
      return [self._by_tiles(picture, direction) for picture in pictures]
    return self.model.translate_together(pictures, direction, count)

  def _by_tiles(self, picture, direction):
    with tqdm(
      total=1,
      bar_format='{percentage:3.0f}% of a picture',
      delay=2,
      leave=False,
      disable=None,
    ) as bar:
      return self.model.translate(
        picture, direction, tile=True, progress=lambda x: bar.update(x - bar.n)
      )


class Result(NamedTuple):
  """How many pictures were translated, were there before, can't be used."""

  done: int
  there: int
  bad: int


def free_memory():
  """Bytes that the device, or for a CPU the machine, can still give."""
  if facts := jax.local_devices()[0].memory_stats():
    return facts['bytes_limit'] - facts['bytes_in_use']
  return psutil.virtual_memory().available


def clean(jobs):
  """Removes what killed processes left of the files of `picture_files.Job`s."""
  for folder in {job.output.parent for job in jobs}:
    files.clean(folder)


def translate_all(way, jobs):
  """Translates pictures to their files; those that are there are left.

  While one batch is translated, the next one is read and the last one written.
  What can't be used is named on standard error, the rest goes on.

  Args:
    way: a `Way`.
    jobs: [picture_files.Job].

  Returns:
    A `Result`.

  Raises:
    UserError: the output can't be written; what was finished stays.
  """
  if not jobs:
    return Result(0, 0, 0)
  todo = [job for job in jobs if not job.output.exists()]
  bar = tqdm(
    total=len(jobs),
    initial=len(jobs) - len(todo),
    unit='picture',
    disable=None,  # where there is no terminal
  )
  bad = []

  def fail(error):
    bad.append(error)
    bar.write(f'skipped: {error}', file=sys.stderr)
    bar.update()

  def settle(writes):
    for future in writes:
      future.result()
      bar.update()

  def read(seen):
    return picture_files.read(seen.job.picture, way.channels)

  with bar, concurrent.futures.ThreadPoolExecutor(4) as pool:
    writes = []
    for (chunk, count), futures in _ahead(pool, _chunks(way, todo, fail), read):
      buckets = collections.defaultdict(list)  # one, but for what headers hid
      for seen, future in zip(chunk, futures):
        try:
          picture = future.result()
          buckets[way.bucket(picture.shape[:2])].append((seen, picture))
        except UserError as e:
          fail(e)
      for pairs in buckets.values():
        made = way.run([picture for _, picture in pairs], count)
        settle(writes)
        writes = [
          pool.submit(_write, seen, way.joined, [picture, *fakes])
          for (seen, picture), fakes in zip(pairs, made)
        ]
    settle(writes)
  return Result(len(todo) - len(bad), len(jobs) - len(todo), len(bad))


class _Seen(NamedTuple):
  """A job, and what the header of its picture says."""

  job: picture_files.Job
  look: picture_files.Look


def _chunks(way, jobs, fail):
  """Pictures of one bucket to translate at a time, and how many at most.

  A bucket is compiled once: its chunks are as even as they can be, and the last
  one is filled up.
  """
  buckets = {}
  for job in jobs:
    try:
      look = picture_files.look(job.picture)
    except UserError as e:
      fail(e)
      continue
    buckets.setdefault(way.bucket(look.size), []).append(_Seen(job, look))
  chunks = []
  for size, same in buckets.items():
    turns = math.ceil(len(same) / max(1, way.fits(size)))
    count = math.ceil(len(same) / turns)
    chunks += [(same[i : i + count], count) for i in range(0, len(same), count)]
  return chunks


def _ahead(pool, chunks, read):
  """Each chunk with the futures of its pictures, read one chunk ahead."""
  waiting = None
  for chunk in chunks:
    coming = chunk, [pool.submit(read, seen) for seen in chunk[0]]
    if waiting:
      yield waiting
    waiting = coming
  if waiting:
    yield waiting


def _write(seen, joined, made):
  """Writes what was made of a picture: [input, translation, ...]."""
  _, look = seen
  path = seen.job.output
  with files.writing(path):
    if joined:
      made = [None, picture_files.side_by_side(made)]
    elif len(made) > 2:
      # Before the translation, which says that all is there.
      back = path.with_name(f'{path.stem}.reconstructed{path.suffix}')
      picture_files.write(back, made[2], look.bits, look.profile)
    picture_files.write(path, made[1], look.bits, look.profile)
