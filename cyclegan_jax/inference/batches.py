"""Translates picture files batch by batch and writes the results."""

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
  """A model, a direction, and the settings of a translation.

  `run` translates images; `fits` and `bucket` tell how to form batches.

  Attributes:
    model: a `Model`.
    direction: 'a2b' or 'b2a'.
    reconstruct: if True, the reconstruction is made as well.
    joined: if True, input, translation and reconstruction are written side by
      side into one picture.
    batch: largest number of pictures of one size in a batch.
    tile: if True, every picture is processed in tiles.
    memory: bytes that a batch may take. A picture that needs more by itself is
      processed in tiles.
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
    """Number of channels of the input pictures."""
    return self.model.channels[self.direction[0]]

  @property
  def values(self):
    """[`Values` of the input domain, `Values` of the output domain]."""
    return [self.model.values[domain] for domain in self.direction.split('2')]

  @property
  def show(self):
    """[channels to show of the input domain, of the output domain].

    Each entry holds one or three numbers of channels, counted from 1, or is
    None for the choice of `images.shown`.
    """
    return [self.model.show[domain] for domain in self.direction.split('2')]

  def fits(self, size):
    """Returns how many whole pictures of a size fit into a batch.

    Returns 0 if pictures of this size are to be processed in tiles.

    Args:
      size: (height, width) of the pictures.
    """
    if self.tile:
      return 0
    networks = self.model.method.generators
    if self.direction not in networks:
      return self.batch
    one = tiled.whole_bytes(networks[self.direction], *size)
    return min(self.batch if self.model.joins else 1, self.memory // one)

  def bucket(self, size):
    """Returns the padded (height, width) at which a picture is translated.

    Pictures of equal padded size share a batch and a compiled program.

    Args:
      size: (height, width) of the picture.
    """
    return images.padded_size(size, self.model.multiple)

  def run(self, pictures, count=0):
    """Translates images of equal padded size as one batch, or in tiles.

    Args:
      pictures: list of float32 [height, width, channels] in [-1, 1].
      count: smallest size of the batch. A smaller batch is filled with copies
        of its last image, so that no other batch size is compiled.

    Returns:
      A list of one tuple per image: (translation,), or (translation,
      reconstruction) if `reconstruct` is set; float32 in [-1, 1].
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
  """Numbers of pictures by outcome.

  Attributes:
    done: pictures that were translated.
    there: pictures whose translation existed before.
    bad: pictures that could not be translated.
  """

  done: int
  there: int
  bad: int


def free_memory():
  """Returns the free memory in bytes: of the device, or of a CPU's host."""
  if facts := jax.local_devices()[0].memory_stats():
    return facts['bytes_limit'] - facts['bytes_in_use']
  return psutil.virtual_memory().available


def clean(jobs):
  """Removes partly written outputs that killed processes left behind.

  Args:
    jobs: list of `inputs.Job`: inputs with the paths of their translations.
  """
  for job in jobs:
    # No other files: browsers give the same ending to their downloads.
    for path in (job.output, names.back(job.output)):
      if not files.remote(path):
        files.remove(files.part(path))


def there(job):
  """Returns True if the output file of a job exists.

  A folder in its place, or a name that the file system does not allow, gives
  False; writing the output then raises an error.

  Args:
    job: an `inputs.Job`.
  """
  try:
    return job.output.is_file()
  except OSError:
    return False


def skipped(job, error, output):
  """Returns the line that reports a picture which was not translated.

  Args:
    job: the `inputs.Job` that failed.
    error: the `Exception` that it raised.
    output: the output folder of all jobs.

  Raises:
    WriteError: `error` itself, if no other file in `output` can be written
      either, such as on a full disk.
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
  """Translates pictures and writes their translations to files.

  Jobs whose output file exists are skipped. While one batch is translated, the
  next batch is read and the previous batch is written. A picture that fails is
  reported on standard error, and all others are translated.

  Args:
    way: the `Way`: model, direction and settings.
    jobs: list of `inputs.Job`: inputs with the paths of their translations.
    output: folder of the translations; by default the folder of the first
      job's output.

  Returns:
    A `Result`.

  Raises:
    UserError: no output can be written. Files that were finished are kept.
  """
  if not jobs:
    return Result(0, 0, 0)
  output = output or jobs[0].output.parent
  todo = [job for job in jobs if not there(job)]
  bar = tqdm(
    total=len(jobs),
    initial=len(jobs) - len(todo),
    unit='picture',
    disable=None,  # no bar without a terminal
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
    """Returns (seen, picture, images made) of each picture translated."""
    try:
      made = way.run([picture for _, picture in pairs], count)
    except Exception as e:  # mostly a lack of memory
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
      buckets = collections.defaultdict(list)  # several if a header was wrong
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
  """A job and the `Look` of its picture."""

  job: inputs.Job
  look: picture_files.Look


def _chunks(way, jobs, fail, tally):
  """Divides jobs into batches: [([`_Seen`, ...], size of the batch)].

  Pictures are grouped by padded size, which compiles one program per group. The
  batches of a group are of equal size; only the last one may hold fewer
  pictures, and is filled up. Pictures whose header cannot be read go to `fail`.
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
  """Yields (chunk, futures of its pictures), reading one chunk ahead."""
  waiting = None
  for chunk in chunks:
    coming = chunk, [pool.submit(read, seen) for seen in chunk[0]]
    if waiting:
      yield waiting
    waiting = coming
  if waiting:
    yield waiting


def _write(seen, way, made):
  """Writes the images of a job: [input, translation, reconstruction]."""
  _, look = seen
  path, (here, there) = seen.job.output, way.values
  with files.writing(path):
    if way.joined:
      joined = picture_files.side_by_side(made, way.values, way.show)
      shown = Values(joined.shape[-1])
      if not (here.plain and there.plain):  # for display only
        look = look._replace(bits=8, dtype=np.dtype(np.uint8), file=None)
      return picture_files.write(path, joined, look, shown)
    if len(made) > 2:
      # Before the translation: `there` looks for the translation only.
      picture_files.write(names.back(path), made[2], look, here)
    return picture_files.write(path, made[1], look, there)
