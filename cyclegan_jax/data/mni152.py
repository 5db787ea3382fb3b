"""The built-in medical set: slabs of the MNI152 brain, a T1 picture and tissue.

The pip package `nilearn` holds the average of 152 brains (ICBM 152, nonlinear,
symmetric, 2009a) at 1 mm as a T1 picture and as maps of gray and white matter,
all on one grid. The axial slices between the neck and the top are cut into
slabs of 6. Each slab is A (T1), B (gray and white matter as two channels) or
test (both) as a whole, and the slices between two slabs are left out.
"""

import importlib.util
import pathlib

import numpy as np

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import builtin

_VERSION = 1  # in the cache's name: a change of what is made counts it up
_FILES = 'mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz'
_FIRST, _LAST = 30, 150  # slices that show brain
_SLAB, _GAP = 6, 2  # slices of a slab, and left out behind it
_ROLES = 'ABTAB'  # slab k is _ROLES[k % 5]
# role of a slab -> the folders that it is kept in
_PARTS = {'A': ['trainA'], 'B': ['trainB'], 'T': ['testA', 'testB']}


def folder(root=None):
  """The folder of the set, made on first use.

  Args:
    root: as for `builtin.kept`.

  Returns:
    A folder with trainA, trainB, testA and testB: NIfTI volumes named after
    their first slice. Those of testA and testB are true pairs by name.

  Raises:
    UserError: nilearn or nibabel is not installed, or the folder can't be
      written.
  """
  return builtin.kept(root, f'mni152-v{_VERSION}', _write)


def _write(folder):
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
  """nibabel, and the folder of nilearn's own data; nilearn is not imported."""
  found = importlib.util.find_spec('nilearn')
  if found is None or importlib.util.find_spec('nibabel') is None:
    raise UserError(
      'data.source="mni152" needs the packages nilearn and nibabel: '
      "pip install 'cyclegan_jax[medical]'"
    )
  import nibabel

  return nibabel, pathlib.Path(found.origin).parent / 'datasets' / 'data'
