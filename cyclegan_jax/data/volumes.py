"""Volumes as the pictures that are cut from them: slices and pages."""

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
  """A source with the slices of each volume in its place.

  Headers of volumes are read; with 'nonempty' their values, too. A file that
  cannot be read stays, for `check` to name it.

  Args:
    source: a `Source`.
    axis: axis of a volume that slices are taken along.
    slices: 'all', or 'nonempty' to leave out slices of one value; of true pairs
      those stay of which either is not empty.
    pages: what the pages of a TIFF are, see `Cut.pages`.

  Raises:
    UserError: a name that there is not, or true pairs of different numbers of
      slices.
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
      'label maps (testLabels, trainLabels) do not go with volumes: remove '
      'classes.json, or cut the volumes into pictures'
    )
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    work = _Work(pool, cut, slices)
    return source._replace(
      train=work.domains(source.train),
      test=work.domains(source.test, source.paired),
      train_pairs=source.train_pairs and work.domains(source.train_pairs, True),
    )


def _may_be_volume(picture, cut):
  if isinstance(picture.data, bytes):
    return False
  form = arrays.find(formats.ending_of(picture.data.name))
  if form is None or arrays.missing(form):
    return False
  return form.name in _ALWAYS or form.name == 'TIFF' and cut.pages != 'first'


class _Work:
  """Cuts volumes, each list of pictures once."""

  def __init__(self, pool, cut, slices):
    self._pool, self._cut, self._slices = pool, cut, slices
    self._done = {}

  def domains(self, pictures, paired=False):
    """{domain: [Picture]} of slices; position by position if `paired`."""
    if not paired:
      return {d: self._all(x) for d, x in pictures.items()}
    cuts = [self._cuts(pictures[d]) for d in 'ab']
    for first, second in zip(*cuts):
      if len(first) != len(second):
        raise UserError(
          f'{first[0].name} and {second[0].name}: {len(first)} and '
          f'{len(second)} slices, and a pair needs the same number: remove '
          'them or set --config.data.paired=no'
        )
    pairs = list(zip(*(list(itertools.chain(*x)) for x in cuts)))
    if self._slices == 'nonempty':
      pairs = self._kept(pairs)
    return dict(zip('ab', map(list, zip(*pairs)))) if pairs else dict(pictures)

  def _all(self, pictures):
    key = id(pictures)
    if key not in self._done:
      found = [(x,) for x in itertools.chain(*self._cuts(pictures))]
      if self._slices == 'nonempty':
        found = self._kept(found)
      self._done[key] = [x for (x,) in found]
    return self._done[key]

  def _cuts(self, pictures):
    """For each picture the list of those that it is cut into."""
    return list(self._pool.map(self._cut_one, pictures))

  def _cut_one(self, picture):
    if not _may_be_volume(picture, self._cut):
      return [picture]
    picture = picture._replace(cut=self._cut)
    try:
      found = raw.facts(picture, raw.form_of(picture, raw.ANY))
    except UserError:
      return [picture]
    return slices_of(picture, found.slices)

  def _kept(self, groups):
    """The groups of slices of which one at least is not empty."""
    empty = self._pool.map(lambda group: all(map(_is_empty, group)), groups)
    return [group for group, gone in zip(groups, empty) if not gone]


def slices_of(picture: Picture, count: int | None) -> list[Picture]:
  """The pictures of a volume's slices, named as `brain.nii.gz[2,17]`.

  Args:
    picture: the file, its `cut` without a number.
    count: number of slices; None for a file that is one picture.
  """
  if count is None:
    return [picture]
  cuts = [picture.cut._replace(number=i) for i in range(count)]
  return [
    picture._replace(name=picture.name + cut.text, cut=cut) for cut in cuts
  ]


def _is_empty(picture):
  if picture.cut.number is None:
    return False
  try:
    form = raw.form_of(picture, raw.ANY)
    return arrays.empty(form, picture.data, picture.cut)
  except Exception:  # whoever uses the slice names it
    return False
