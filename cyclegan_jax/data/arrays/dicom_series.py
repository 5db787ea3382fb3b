"""Order of the files of a DICOM series, and their position in the patient."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from cyclegan_jax.data.arrays import base, dicom_file

_SERIES, _NUMBER = 0x0020000E, 0x00200013
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SPACING, _ROWS = 0x00280030, 0x00280010
_THICKNESS, _BETWEEN = 0x00180050, 0x00180088
# DICOM's axes point to the patient's left and back, NIfTI's to the patient's
# right and front (RAS).
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def position(data: base.Data) -> tuple[str, float, int]:
  """Returns a key that sorts DICOM files by series, then from slice to slice.

  Args:
    data: the path of a DICOM file, or its bytes.

  Returns:
    (UID of the series, position of the slice along its normal in mm, or 0.0 if
    unknown, instance number, or 0 if unknown).

  Raises:
    ValueError: the file is not a DICOM file.
    Exception: any error of pydicom, if the file is damaged.
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
  """Returns the affine matrix of a DICOM series as a NIfTI volume.

  The matrix maps the indices [i, j, slice] of the volume to millimetres in RAS
  (right, anterior, superior). The slices of the volume are `nifti.from_picture`
  of the pictures of the series.

  Args:
    series: the paths of the files, or their bytes, sorted by `position`.

  Raises:
    ValueError: the first or last file lacks its position, orientation or
      spacing, or the two differ in orientation.
    Exception: any error of pydicom, if a file is damaged.
  """
  first, last = _place(series[0]), _place(series[-1])
  origin, axes, (between_rows, between_columns), rows, thickness = first
  right, down = axes[:3] * between_columns, axes[3:] * between_rows
  if not np.allclose(axes, last[1], atol=1e-3):
    raise ValueError('the slices of one series differ in orientation')
  if len(series) > 1:
    step = (last[0] - origin) / (len(series) - 1)
  else:
    step = np.cross(axes[:3], axes[3:]) * thickness
  affine = np.eye(4)
  affine[:3] = np.stack([right, -down, step, origin + down * (rows - 1)], -1)
  return _TO_RAS @ affine


def _place(data):
  """Returns the geometry of a slice: (origin, axes, spacing, rows, distance).

  The origin [3] is in mm. The axes [6] are the directions along a row and along
  a column. The spacing [2] is the distance in mm between rows and between
  columns. `rows` is the number of rows. The distance to the next slice is in
  mm, 1 if the file does not give it.

  Raises:
    ValueError: the file lacks one of the first four.
  """
  tags = _tags(
    data, _POSITION, _ORIENTATION, _SPACING, _ROWS, _THICKNESS, _BETWEEN
  )
  told = [
    _numbers(tags, tag, count)
    for tag, count in ((_POSITION, 3), (_ORIENTATION, 6), (_SPACING, 2))
  ]
  rows = tags.get('Rows')
  if rows is None or any(x is None for x in told):
    raise ValueError('the file does not give its place in the patient')
  between = tags.get('SpacingBetweenSlices') or tags.get('SliceThickness')
  return (*told, int(rows), float(between or 1))


def _tags(data, *wanted):
  with base.opened(data) as file:
    return dicom_file.dataset(file, list(wanted))[0]


def _numbers(tags, tag, count):
  """Returns the numbers of a tag as an array; None if they are not `count`."""
  value = tags[tag].value if tag in tags else None
  if value is None or np.size(value) != count:
    return None
  return np.array(value, np.float64)
