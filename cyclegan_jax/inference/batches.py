"""From picture files to their translations, batch by batch."""

import collections
import concurrent.futures
import math
import sys
from typing import NamedTuple

import jax
import numpy as np
import psutil
from tqdm import tqdm

from cyclegan_jax.common import disk, files, images
from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import partly
from cyclegan_jax.data.values import Values
from cyclegan_jax.inference import inputs, names, picture_files, tiled
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

  @property
  def values(self):
    """`Values` of the pictures that go in, and of those that come out."""
    return [self.model.values[domain] for domain in self.direction.split('2')]

  @property
  def show(self):
    """Channels to show of these, as `images.shown` takes them."""
    return [self.model.show[domain] for domain in self.direction.split('2')]

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
  """Removes what killed processes left of the files of `inputs.Job`s."""
  for job in jobs:
    # No others: a browser calls its downloads so, too.
    for path in (job.output, names.back(job.output)):
      if not files.remote(path):
        files.remove(files.part(path))


def there(job):
  """Returns True if a `inputs.Job` was done before.

  A folder of that name, or a name that cannot be, is for `write` to refuse.
  """
  try:
    return job.output.is_file()
  except OSError:
    return False


def skipped(job, error, output):
  """One line on a job that failed.

  Args:
    job: a `inputs.Job`.
    error: an `Exception`.
    output: the folder of all jobs.

  Raises:
    WriteError: the error, if other jobs would meet it too.
  """
  if isinstance(error, disk.WriteError) and disk.concerns_all(error, output):
    raise error
  if isinstance(error, UserError):
    return f'skipped: {error}'
  reason = ' '.join(str(error).split())[:200]
  return (
    f'skipped: {job.picture.name}: cannot be translated '
    f'({type(error).__name__}: {reason})'
  )


def translate_all(way, jobs, output=None):
  """Translates pictures to their files; those that are there are left.

  While one batch is translated, the next one is read and the last one written.
  A picture that fails is named on standard error, and the rest is translated.

  Args:
    way: a `Way`.
    jobs: [inputs.Job].
    output: the folder of the translations; by default that of the first one.

  Returns:
    A `Result`.

  Raises:
    UserError: no output can be written; what was finished stays.
  """
  if not jobs:
    return Result(0, 0, 0)
  output = output or jobs[0].output.parent
  todo = [job for job in jobs if not there(job)]
  bar = tqdm(
    total=len(jobs),
    initial=len(jobs) - len(todo),
    unit='picture',
    disable=None,  # where there is no terminal
  )
  bad = []
  tally = partly.Tally()

  def fail(job, error):
    line = skipped(job, error, output)
    bad.append(job)
    bar.write(line, file=sys.stderr)
    bar.update()

  def settle(writes):
    for job, future in writes:
      try:
        future.result()
      except Exception as e:
        fail(job, e)
      else:
        bar.update()

  def run(pairs, count):
    """(seen, picture, images made) of all that can be translated."""
    try:
      made = way.run([picture for _, picture in pairs], count)
    except Exception as e:  # too little memory, above all
      if len(pairs) == 1:
        fail(pairs[0][0].job, e)
        return []
      return [x for pair in pairs for x in run([pair], 1)]
    return [(*pair, fakes) for pair, fakes in zip(pairs, made)]

  def read(seen):
    return picture_files.read(seen.job.picture, way.values[0], tally)

  with bar, concurrent.futures.ThreadPoolExecutor(4) as pool:
    writes = []
    chunks = _chunks(way, todo, fail, tally)
    for (chunk, count), futures in _ahead(pool, chunks, read):
      buckets = collections.defaultdict(list)  # one, but for what headers hid
      for seen, future in zip(chunk, futures):
        try:
          picture = future.result()
          buckets[way.bucket(picture.shape[:2])].append((seen, picture))
        except Exception as e:
          fail(seen.job, e)
      for pairs in buckets.values():
        made = run(pairs, count)
        settle(writes)
        writes = [
          (seen.job, pool.submit(_write, seen, way, [picture, *fakes]))
          for seen, picture, fakes in made
        ]
    settle(writes)
  if line := tally.line(len(todo)):
    print(f'warning: {line}', file=sys.stderr)
  return Result(len(todo) - len(bad), len(jobs) - len(todo), len(bad))


class _Seen(NamedTuple):
  """A job, and what the header of its picture says."""

  job: inputs.Job
  look: picture_files.Look


def _chunks(way, jobs, fail, tally):
  """Pictures of one bucket to translate at a time, and how many at most.

  A bucket is compiled once: its chunks are as even as they can be, and the last
  one is filled up.
  """
  buckets = {}
  for job in jobs:
    try:
      look = picture_files.look(job.picture, way.values[0], tally)
    except Exception as e:
      fail(job, e)
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


def _write(seen, way, made):
  """Writes what was made of a picture: [input, translation, ...]."""
  _, look = seen
  path, (here, there) = seen.job.output, way.values
  with files.writing(path):
    if way.joined:
      joined = picture_files.side_by_side(made, way.values, way.show)
      shown = Values(joined.shape[-1])
      if not (here.plain and there.plain):  # a picture to look at
        look = look._replace(bits=8, dtype=np.dtype(np.uint8), file=None)
      return picture_files.write(path, joined, look, shown)
    if len(made) > 2:
      # Before the translation, which says that all is there.
      picture_files.write(names.back(path), made[2], look, here)
    return picture_files.write(path, made[1], look, there)
