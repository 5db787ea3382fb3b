"""Finds the pictures, volumes and series to translate, and names outputs."""

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
VOLUMES = ('nii', 'nii.gz')  # output formats that hold volumes
# Format of the input -> default format of its translation.
_SAME = {'TIFF': 'tiff', 'DICOM': 'nii.gz'}
_RECORD = 'translate.json'  # end of the names of translate's own records


class Job(NamedTuple):
  """A picture, video or volume to translate, and the path of its translation.

  Attributes:
    picture: the input, a `Picture`; the first file of a DICOM series.
    output: path of the translation, with the ending of its format.
    parts: the files of a DICOM series, in the order of their positions; for any
      other input the one file, or ().
  """

  picture: Picture
  output: pathlib.Path
  parts: tuple[files.Path, ...] = ()


def _nothing(_):
  """Returns None for any argument."""


def find(
  source,
  output,
  ending,
  other=_nothing,
  both=False,
  say=_nothing,
  cut=_WHOLE,
):
  """Finds the files that --input names, and chooses the output paths.

  Names and folders are kept: SOURCE/x/1.jpg becomes OUTPUT/x/1.png. If two
  outputs would have the same path, both keep the ending of the input as well
  (1.jpg.png).

  Args:
    source: a file, a folder with all its subfolders, or a pattern with the
      characters `*`, `?` or `[]`.
    output: folder of the translations, which is excluded from the search.
    ending: ending of the translations, such as 'png', or a function: path of
      the input -> ending.
    other: function: path -> ending of the output for a file that is not a
      picture but can be translated, such as a video; None for other files.
    both: if True, names for the reconstructions are kept free as well.
    say: function that is called with one line about the files left out.
    cut: the `data.picture.Cut` by which volumes and multi-page TIFF files are
      divided.

  Returns:
    A list of `Job`, in the order of names.

  Raises:
    UserError: `source` has no file that can be translated, or is the folder
      `output`.
  """
  root, found = search.search(source)
  inside = files.resolved(output)
  if files.resolved(root) == inside:
    raise UserError(
      f'--output={output} is the folder of the pictures: give another folder'
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
  """Resolves the links of a local path; returns a bucket's path as given."""
  return path if files.remote(path) else path.resolve()


def _within(path, folder, behind):
  """Returns True if a path is a folder or is below it, links resolved."""
  parent = behind(path.parent)
  return folder == parent / path.name or folder in (parent, *parent.parents)


def default_format(values, joined, path):
  """Returns the name of the format of a translation without --format.

  Args:
    values: `Values` (channels and value range) of the domain of the
      translation.
    joined: True if input and translation are written side by side into one
      picture.
    path: path of the input.
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
  """Returns the `ArrayFormat` that a file's name stands for, or None.

  None means that the file is not one of arrays, such as .npy, .tif, .nii or
  .dcm.

  Args:
    path: path of the file.
  """
  return arrays.find(formats.ending_of(path.name))


def is_dicom(path):
  """Returns True if the ending of a file's name is one of DICOM."""
  form = form_of(path)
  return form is not None and form.name == 'DICOM'


def series(paths):
  """Groups DICOM files into series.

  Args:
    paths: paths of files of any format, in order.

  Returns:
    A list of lists of paths. The DICOM files of one series in one folder form
    one list, in the order of their positions. Any other file, and a DICOM file
    that cannot be read, is a list of its own.
  """
  groups, keys = {}, {}
  for path in paths:
    key = path
    if is_dicom(path):
      try:
        with files.here(path) as here:
          uid, *keys[path] = _position(here)
        key = path.parent, uid
      except Exception:  # its translation reports the error
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
  """Makes the jobs of some files, with names from which outputs are chosen.

  A series or volume is one job if its translation is a volume. Otherwise each
  slice is a job of its own, with a name such as x[2,17].nii.

  Args:
    paths: paths of files, in order.
    root: the folder that names are relative to.
    made: function: path -> ending of the file's translation.
    cut: the `Cut` of volumes, with `number` None.

  Returns:
    ([`Job` without its output], [path relative to `root`]), of equal length.
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
  """Returns the name of a series: the name of its folder, ending in .dcm."""
  folder = name.parent
  if not folder.name:
    return name.with_name(f'{root.name}.dcm')
  return folder.with_name(f'{folder.name}.dcm')


def pictures_of(path, cut):
  """Returns the pictures in a file: one, or all slices of a volume.

  Args:
    path: path of the file.
    cut: the `data.picture.Cut` that divides a volume, with `number` None.

  Returns:
    A list of `Picture`. A file that cannot be read gives one `Picture`, and
    reading that raises the error.
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
  """Returns the slices of a `Job`'s volume or series, in order of position.

  Args:
    job: a `Job` whose input is a volume or a DICOM series.

  Returns:
    A list of `Picture`.
  """
  if len(job.parts) > 1:
    return [named(path)._replace(cut=job.picture.cut) for path in job.parts]
  return pictures_of(job.picture.data, job.picture.cut)


def is_volume(job):
  """Returns True if the output of a `Job` is a volume (.nii or .nii.gz)."""
  return formats.ending_of(job.output.name)[1:] in VOLUMES
