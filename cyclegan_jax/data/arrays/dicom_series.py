"""The order of a series of DICOM files, and where it is in the patient."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from cyclegan_jax.data.arrays import base, dicom_file

_SERIES, _NUMBER = 0x0020000E, 0x00200013
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SPACING, _ROWS = 0x00280030, 0x00280010
_THICKNESS, _BETWEEN = 0x00180050, 0x00180088
# DICOM's axes point to the left and back, NIfTI's to the right and front.
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def position(data: base.Data) -> tuple[str, float, int]:
  """Key that sorts the files of series: series, place, number.

  The place is that along the normal of the slice in mm, 0 where it is unknown.

  Raises:
    ValueError: it is no DICOM file.
    Exception: pydicom's own, for a damaged file.
  """
  tags = _tags(data, _SERIES, _NUMBER, _POSITION, _ORIENTATION)
  origin, axes = _numbers(tags, _POSITION, 3), _numbers(tags, _ORIENTATION, 6)
  place = 0.0
  if origin is not None and axes is not None:
    place = float(origin @ np.cross(axes[:3], axes[3:]))
  number = tags.get('InstanceNumber')
  return (
    str(tags.get('SeriesInstanceUID', '')),
    place,
    0 if number is None else int(number),
  )


def geometry(series: Sequence[base.Data]) -> Float64[np.ndarray, '4 4']:
  """Affine of a series that is sorted by `position`, in mm and RAS.

  It belongs to the volume [i, j, slice] whose slices are `nifti.from_picture`
  of the pictures.

  Raises:
    ValueError: a file does not tell its place, spacing or orientation.
    Exception: pydicom's own, for a damaged file.
  """
  first, last = _place(series[0]), _place(series[-1])
  origin, axes, (between_rows, between_columns), rows, thickness = first
  right, down = axes[:3] * between_columns, axes[3:] * between_rows
  if not np.allclose(axes, last[1], atol=1e-3):
    raise ValueError('slices of one series differ in orientation')
  if len(series) > 1:
    step = (last[0] - origin) / (len(series) - 1)
  else:
    step = np.cross(axes[:3], axes[3:]) * thickness
  affine = np.eye(4)
  affine[:3] = np.stack([right, -down, step, origin + down * (rows - 1)], -1)
  return _TO_RAS @ affine


def _place(data):
  """(origin, axes, spacing of rows and columns, rows, thickness)."""
  tags = _tags(
    data, _POSITION, _ORIENTATION, _SPACING, _ROWS, _THICKNESS, _BETWEEN
  )
  told = [
    _numbers(tags, tag, count)
    for tag, count in ((_POSITION, 3), (_ORIENTATION, 6), (_SPACING, 2))
  ]
  rows = tags.get('Rows')
  if rows is None or any(x is None for x in told):
    raise ValueError('it does not tell its place in the patient')
  between = tags.get('SpacingBetweenSlices') or tags.get('SliceThickness')
  return (*told, int(rows), float(between or 1))


def _tags(data, *wanted):
  with base.opened(data) as file:
    return dicom_file.dataset(file, list(wanted))[0]


def _numbers(tags, tag, count):
  """The numbers of a tag, or None without so many."""
  value = tags[tag].value if tag in tags else None
  if value is None or np.size(value) != count:
    return None
  return np.array(value, np.float64)
