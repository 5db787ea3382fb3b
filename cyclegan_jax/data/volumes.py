"""Replaces volumes and multi-page files in a dataset by their slices."""

import concurrent.futures
import itertools

from cyclegan_jax.common.errors import UserError, choose
from cyclegan_jax.data import arrays, formats, raw
from cyclegan_jax.data.picture import Cut, Picture
from cyclegan_jax.data.source import Source

SLICES = ('all', 'nonempty')  # the values of data.slices
PAGES = ('first', 'channels', 'slices')  # the values of data.pages
_ALWAYS = ('NIfTI', 'DICOM')  # the formats that may be volumes
_THREADS = 8


def expanded(
  source: Source, axis: int = 2, slices: str = 'all', pages: str = 'first'
) -> Source:
  """Replaces each volume of a dataset by the pictures of its slices.

  Reads the headers of all volumes, and with slices='nonempty' also their
  values. A file that cannot be read is kept unchanged, so that `check` reports
  it later.

  Args:
    source: the `Source` of the dataset.
    axis: value of data.axis, the axis of a volume along which slices are taken.
    slices: value of data.slices: 'all', or 'nonempty' to leave out slices whose
      values are all equal. A true pair of slices is left out only if both are
      empty.
    pages: value of data.pages, the use of the pages of a TIFF file, see
      `Cut.pages`.

  Returns:
    The `Source` with slices; `source` itself if it has no volumes.

  Raises:
    UserError: an option has an unknown value, the volumes of a true pair have
      different numbers of slices, or the dataset has volumes and label maps.
  """
  choose(SLICES, slices, 'data.slices')
  cut = Cut(axis, None, choose(PAGES, pages, 'data.pages'))
  lists = [*source.train.values(), *source.test.values()]
  if source.train_pairs:
    lists += source.train_pairs.values()
  if not any(_may_be_volume(p, cut) for p in itertools.chain(*lists)):
    return source
  if source.labels or source.train_labels:
    raise UserError(
      'label maps (testLabels, trainLabels) cannot be used with volumes: '
      'remove classes.json, or save the slices of the volumes as pictures'
    )
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    work = _Work(pool, cut, slices)
    return source._replace(
      train=work.domains(source.train),
      test=work.domains(source.test, source.paired),
      train_pairs=source.train_pairs and work.domains(source.train_pairs, True),
    )


def _may_be_volume(picture, cut):
  """Returns True if a file can hold several slices, judged by its ending."""
  if isinstance(picture.data, bytes):
    return False
  form = arrays.find(formats.ending_of(picture.data.name))
  if form is None or arrays.missing(form):
    return False
  return form.name in _ALWAYS or form.name == 'TIFF' and cut.pages != 'first'


class _Work:
  """Replaces volumes by slices; each list of pictures is processed once.

  Args:
    pool: the thread pool in which files are read.
    cut: the `Cut` without a number, with the axis and the use of pages.
    slices: 'all', or 'nonempty' to leave out slices whose values are all equal.
  """

  def __init__(self, pool, cut, slices):
    self._pool, self._cut, self._slices = pool, cut, slices
    self._done = {}

  def domains(self, pictures, paired=False):
    """Replaces the volumes of both domains by their slices.

    Args:
      pictures: {'a', 'b'}: [Picture].
      paired: whether pictures at the same position are true pairs. Then slices
        at the same position in the result are true pairs, too.

    Returns:
      {'a', 'b'}: [Picture].

    Raises:
      UserError: the volumes of a true pair have different numbers of slices.
    """
    if not paired:
      return {d: self._all(x) for d, x in pictures.items()}
    cuts = [self._cuts(pictures[d]) for d in 'ab']
    for first, second in zip(*cuts):
      if len(first) != len(second):
        raise UserError(
          f'{first[0].name} and {second[0].name}: {len(first)} and '
          f'{len(second)} slices, but the volumes of a pair need the same '
          'number: remove them or set --config.data.paired=no'
        )
    pairs = list(zip(*(list(itertools.chain(*x)) for x in cuts)))
    if self._slices == 'nonempty':
      pairs = self._kept(pairs)
    return dict(zip('ab', map(list, zip(*pairs)))) if pairs else dict(pictures)

  def _all(self, pictures):
    """Returns the slices of a list of unpaired pictures."""
    key = id(pictures)
    if key not in self._done:
      found = [(x,) for x in itertools.chain(*self._cuts(pictures))]
      if self._slices == 'nonempty':
        found = self._kept(found)
      self._done[key] = [x for (x,) in found]
    return self._done[key]

  def _cuts(self, pictures):
    """Returns a list of slices for each picture."""
    return list(self._pool.map(self._cut_one, pictures))

  def _cut_one(self, picture):
    """Returns the slices of a picture; [picture] if it is not a volume."""
    if not _may_be_volume(picture, self._cut):
      return [picture]
    picture = picture._replace(cut=self._cut)
    try:
      found = raw.facts(picture, raw.form_of(picture, raw.ANY))
    except UserError:
      return [picture]
    return slices_of(picture, found.slices)

  def _kept(self, groups):
    """Returns the groups of slices in which at least one is not empty."""
    empty = self._pool.map(lambda group: all(map(_is_empty, group)), groups)
    return [group for group, gone in zip(groups, empty) if not gone]


def slices_of(picture: Picture, count: int | None) -> list[Picture]:
  """Returns the slices of a volume as pictures, named `brain.nii.gz[2,17]`.

  Args:
    picture: the `Picture` of the file; its `cut` has no number.
    count: number of slices; None for a file that is one picture.

  Returns:
    One `Picture` per slice; [picture] if `count` is None.
  """
  if count is None:
    return [picture]
  cuts = [picture.cut._replace(number=i) for i in range(count)]
  return [
    picture._replace(name=picture.name + cut.text, cut=cut) for cut in cuts
  ]


def _is_empty(picture):
  """Returns True if all values of a slice are equal or NaN.

  False for a picture that is not a slice, and for a slice that cannot be read.
  """
  if picture.cut.number is None:
    return False
  try:
    form = raw.form_of(picture, raw.ANY)
    return arrays.empty(form, picture.data, picture.cut)
  except Exception:  # reported when the slice is used
    return False
