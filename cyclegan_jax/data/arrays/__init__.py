"""Table of the array formats: file endings, packages and reading functions."""

import functools
import importlib.util

from cyclegan_jax.data.arrays import dicom, nifti, numpy_files, png, tiff
from cyclegan_jax.data.arrays.base import ArrayFormat, Data
from cyclegan_jax.data.picture import Cut

ARRAY_FORMATS: tuple[ArrayFormat, ...] = (
  ArrayFormat(
    'TIFF',
    ('.tif', '.tiff'),
    'tifffile',
    'scientific',
    tiff.facts,
    tiff.read,
  ),
  ArrayFormat(
    '16-bit PNG', ('.png',), 'imagecodecs', 'scientific', png.facts, png.read
  ),
  ArrayFormat(
    'NumPy',
    ('.npy', '.npz'),
    '',
    '',
    numpy_files.facts,
    numpy_files.read,
  ),
  ArrayFormat(
    'NIfTI',
    ('.nii', '.nii.gz'),
    'nibabel',
    'medical',
    nifti.facts,
    nifti.read,
  ),
  ArrayFormat(
    'DICOM',
    ('.dcm', '.dicom', '.ima'),
    'pydicom',
    'medical',
    dicom.facts,
    dicom.read,
  ),
)
_BY_ENDING = sorted(
  ((ending, x) for x in ARRAY_FORMATS for ending in x.endings),
  key=lambda pair: -len(pair[0]),
)


def find(name: str) -> ArrayFormat | None:
  """Returns the array format of a file name, or None for any other file.

  Only the ending of the name counts, in upper or lower case.
  """
  name = name.lower()
  return next((x for ending, x in _BY_ENDING if name.endswith(ending)), None)


def missing(known: ArrayFormat) -> str | None:
  """Returns the command that installs the package a format needs, or None.

  None means that the package is installed, or that the format needs no package.

  Args:
    known: an `ArrayFormat`, an entry of the table of formats.
  """
  if not known.package or _installed(known.package):
    return None
  return f"pip install -e '.[{known.extra}]'"


@functools.cache
def _installed(package):
  return importlib.util.find_spec(package) is not None


def empty(known: ArrayFormat, data: Data, cut: Cut) -> bool:
  """Returns True if the values of a picture are all equal, or all NaN.

  Args:
    known: the format of the file.
    data: the path of the file, or its bytes.
    cut: the `Cut`: which slice or page of the file is the picture.

  Raises:
    Exception: any error that `ArrayFormat.read` raises.
  """
  array = known.read(data, cut)
  first = array.flat[0]
  return bool((array == first).all()) or bool((array != array).all())
