"""The pictures, volumes and series to translate, and where they go."""

import functools
import pathlib
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays, folders, formats, raw
from cyclegan_jax.data.picture import Cut, Picture, named
from cyclegan_jax.data.volumes import slices_of
from cyclegan_jax.inference import names as names_of
from cyclegan_jax.inference import search

_WHOLE = Cut()
VOLUMES = ('nii', 'nii.gz')  # the formats that hold volumes
# What a translation is written as by default, by the format of its input.
_SAME = {'TIFF': 'tiff', 'DICOM': 'nii.gz'}
_RECORD = 'translate.json'  # the end of what translate writes beside pictures


class Job(NamedTuple):
  """A picture to translate.

  Attributes:
    picture: a `Picture`.
    output: where the translation goes, the ending of its format included.
    parts: the files of a DICOM series, in the order of their positions.
  """

  picture: Picture
  output: pathlib.Path
  parts: tuple[files.Path, ...] = ()


def _nothing(_):
  """Makes nothing of its argument."""


def find(
  source,
  output,
  ending,
  other=_nothing,
  both=False,
  say=_nothing,
  cut=_WHOLE,
):
  """The pictures a user means, and where their translations go.

  Names and folders are kept: SOURCE/x/1.jpg becomes OUTPUT/x/1.png; where two
  would collide, both keep their ending too (1.jpg.png).

  Args:
    source: a file, a folder (with all below it), or a pattern with * ? [].
    output: the folder of the translations; it is left out of the search.
    ending: of the translations, such as 'png'; or path -> ending.
    other: path -> the ending of what is made of a file that is no picture, or
      None for files to leave out.
    both: whether pictures that were translated there and back are written too.
    say: takes a line on the files that are left out.
    cut: the `Cut` of volumes and of the pages of a TIFF.

  Returns:
    [Job], in the order of names.

  Raises:
    UserError: there is nothing to be found.
  """
  root, found = search.search(source)
  inside = files.resolved(output)
  if files.resolved(root) == inside:
    raise UserError(
      f'--output={output} is the folder of the pictures: give another one'
    )

  def made(path):
    return other(path) or (ending(path) if callable(ending) else ending)

  def why_not(path):
    return None if other(path) else folders.reason(path)

  behind = functools.cache(_behind)
  paths, left_out = folders.divided(
    [(path, why) for path, why in found if not _within(path, inside, behind)],
    why_not,
  )
  left_out = [x for x in left_out if not x[0].name.endswith(_RECORD)]
  if not paths:
    needed = folders.needed(left_out)
    raise UserError(f'no pictures in {source} (--input): {needed}')
  if left_out:
    say(folders.summary(left_out))
  jobs, names = _cut_up(paths, root, made, cut)
  endings = [made(job.picture.data) for job in jobs]
  outputs = names_of.outputs(names, endings, both)
  return [job._replace(output=output / x) for job, x in zip(jobs, outputs)]


def _behind(path):
  """The path behind all links; a bucket has none among its pictures."""
  return path if files.remote(path) else path.resolve()


def _within(path, folder, behind):
  """Returns True for a folder and paths below it, by links to folders too."""
  parent = behind(path.parent)
  return folder == parent / path.name or folder in (parent, *parent.parents)


def default_format(values, joined, path):
  """The format that a translation is written in where none is asked for.

  Args:
    values: `Values` of the domain of the translation.
    joined: whether all goes into one picture, side by side.
    path: of the input.
  """
  if joined:
    return 'png'
  ending = formats.ending_of(path.name)
  form = arrays.find(ending)
  if form and ending != '.png':
    return _SAME.get(form.name, ending[1:])
  kind = np.dtype(values.dtype or np.uint8)
  if values.low or values.channels not in (1, 3) or kind != np.uint8:
    return 'tiff'
  return 'png'


def form_of(path):
  """The format of arrays of a file by its name, or None."""
  return arrays.find(formats.ending_of(path.name))


def is_dicom(path):
  """Returns True for a file that is DICOM by its name."""
  form = form_of(path)
  return form is not None and form.name == 'DICOM'


def series(paths):
  """DICOM files grouped into series, each in the order of its positions.

  Args:
    paths: of files, in order.

  Returns:
    [[path, ...]]: the files of a series of one folder; another file is alone,
    and so is a DICOM file that can't be read.
  """
  groups, keys = {}, {}
  for path in paths:
    key = path
    if is_dicom(path):
      try:
        with files.here(path) as here:
          uid, *keys[path] = _position(here)
        key = path.parent, uid
      except Exception:  # whoever translates it says why
        key = path
    groups.setdefault(key, []).append(path)
  return [
    sorted(group, key=keys.get) if len(group) > 1 else group
    for group in groups.values()
  ]


def _position(path):
  from cyclegan_jax.data.arrays import dicom_series

  return dicom_series.position(path)


def _cut_up(paths, root, made, cut):
  """The jobs of some files, without their outputs, and names for these.

  Series and volumes stay whole where their translations are volumes. Else the
  slices are pictures of their own, named as x[2,17].nii.

  Args:
    paths: of files, in order.
    root: the folder that names are relative to.
    made: path -> the ending of a file's translation.
    cut: the `Cut` of volumes, without a number.

  Returns:
    ([Job], [name below `root`]).
  """
  jobs, names = [], []
  for group in series(paths):
    whole = made(group[0]) in VOLUMES
    for part in [group] if whole else [[path] for path in group]:
      name = part[0].relative_to(root)
      pictures = [named(part[0])._replace(cut=cut)]
      if len(part) > 1:
        name = _folder_name(name, root)
      elif not whole:
        pictures = pictures_of(part[0], cut)
      for picture in pictures:
        stem, ending = formats.split(name.name)
        jobs.append(Job(picture, None, tuple(part)))
        names.append(name.with_name(f'{stem}{picture.cut.text}{ending}'))
  return jobs, names


def _folder_name(name, root):
  """The name of a series, that of its folder with the ending of DICOM."""
  folder = name.parent
  if not folder.name:
    return name.with_name(f'{root.name}.dcm')
  return folder.with_name(f'{folder.name}.dcm')


def pictures_of(path, cut):
  """The pictures of a file: itself, or the slices of a volume.

  Args:
    path: of the file.
    cut: the `Cut` without a number.

  Returns:
    [Picture]; a file that can't be read is one, for its reader to name it.
  """
  if form_of(path) is None:
    return [named(path)]
  picture = named(path)._replace(cut=cut)
  try:
    form = raw.form_of(picture, raw.ANY)
    return slices_of(picture, form and raw.facts(picture, form).slices)
  except UserError:
    return [picture]


def slices(job):
  """The pictures of a volume or series, in the order of their positions."""
  if len(job.parts) > 1:
    return [named(path)._replace(cut=job.picture.cut) for path in job.parts]
  return pictures_of(job.picture.data, job.picture.cut)


def is_volume(job):
  """Returns True for a job whose output is a volume."""
  return formats.ending_of(job.output.name)[1:] in VOLUMES
