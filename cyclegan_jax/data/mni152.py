"""The built-in medical dataset: T1 image and tissue maps of the MNI152 brain.

The pip package `nilearn` contains the average of 152 brains (ICBM 152,
nonlinear, symmetric, 2009a) at a resolution of 1 mm: a T1 volume and maps of
gray and white matter, all on the same grid. The axial slices from number 30 to
149, which show brain, are cut into slabs of 6 slices. Each slab belongs as a
whole to the training set of A (T1), to the training set of B (gray and white
matter as two channels) or to the test set (both). The 2 slices between
neighbouring slabs are left out.
"""

import importlib.util
import pathlib

import numpy as np

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import builtin

# Part of the folder's name in the cache. Increase when the files change.
_VERSION = 1
_FILES = 'mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz'
_FIRST, _LAST = 30, 150  # slices that show brain
_SLAB, _GAP = 6, 2  # slices in a slab, and left out after each slab
_ROLES = 'ABTAB'  # slab k has the role _ROLES[k % 5]; T: test
# role of a slab -> folders that the slab is written to
_PARTS = {'A': ['trainA'], 'B': ['trainB'], 'T': ['testA', 'testB']}


def folder(root=None):
  """Returns the folder of the built-in medical dataset.

  The folder is created in the cache on first use.

  Args:
    root: folder that holds the built-in datasets; None for
      $CYCLEGAN_JAX_CACHE, or `cyclegan_jax` in the user's cache folder.

  Returns:
    Path of a folder with trainA, trainB, testA and testB. They hold NIfTI
    volumes of 6 slices, named after the number of the first slice, such as
    z046.nii. Volumes of testA and testB with equal names are true pairs.

  Raises:
    UserError: nilearn or nibabel is not installed, or the folder cannot be
      written.
  """
  return builtin.kept(root, f'mni152-v{_VERSION}', _write)


def _write(folder):
  """Writes the slabs below an empty folder."""
  nibabel, where = _packages()
  brain = {
    kind: nibabel.load(where / _FILES.format(kind))
    for kind in ('t1', 'gm', 'wm')
  }
  arrays = {kind: np.asanyarray(x.dataobj) for kind, x in brain.items()}
  pictures = {
    'A': arrays['t1'],
    'B': np.stack([arrays['gm'], arrays['wm']], axis=-1),
  }
  for k, start in enumerate(range(_FIRST, _LAST - _SLAB + 1, _SLAB + _GAP)):
    affine = brain['t1'].affine.copy()
    affine[:3, 3] += start * affine[:3, 2]
    for part in _PARTS[_ROLES[k % len(_ROLES)]]:
      slab = pictures[part[-1]][:, :, start : start + _SLAB]
      image = nibabel.Nifti1Image(slab, affine)
      image.header.set_xyzt_units('mm')
      (folder / part).mkdir(exist_ok=True)
      disk.fill(folder / part / f'z{start:03d}.nii', image.to_bytes())


def _packages():
  """Returns (nibabel, folder of nilearn's data files).

  nilearn is located but not imported, because its import is slow.

  Raises:
    UserError: nilearn or nibabel is not installed.
  """
  found = importlib.util.find_spec('nilearn')
  if found is None or importlib.util.find_spec('nibabel') is None:
    raise UserError(
      'data.source="mni152" needs the packages nilearn and nibabel: '
      "pip install 'cyclegan_jax[medical]'"
    )
  import nibabel

  return nibabel, pathlib.Path(found.origin).parent / 'datasets' / 'data'
