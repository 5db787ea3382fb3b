"""Volumes translated slice by slice: NIfTI files and series of DICOM files."""

import collections
import contextlib

from tqdm import tqdm

from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import partly, raw
from cyclegan_jax.data.bad_pictures import warn_once
from cyclegan_jax.inference import inputs, names, picture_files
from cyclegan_jax.inference.arrays import made_type
from cyclegan_jax.inference.volume import Volume


def translate(way, job):
  """Translates a volume to a NIfTI file of its grid, in little memory.

  Args:
    way: a `batches.Way`.
    job: a `inputs.Job`; a file that is there is left.

  Raises:
    UserError: the volume can't be read, its slices have two sizes, or the
      translation can't be written.
  """
  if inputs.form_of(job.picture.data) is None:
    raise UserError(
      f'{job.picture.name} is no volume: choose --format=png, tiff or npy'
    )
  cuts = inputs.slices(job)
  facts = [raw.facts(x, raw.form_of(x, raw.ANY)) for x in cuts]
  sizes = collections.Counter(x.size for x in facts)
  if len(sizes) > 1:
    raise UserError(
      f'{job.picture.name}: slices of {len(sizes)} sizes, and a volume needs '
      'one: remove the others'
    )
  outputs = [(job.output, way.direction[2])]
  if way.reconstruct:
    back = opposite(way.direction)
    outputs = [(names.back(job.output), back[2]), *outputs]
  with contextlib.ExitStack() as stack:
    writers = []
    for path, domain in outputs:
      writers.append(_writer(way, job, path, domain, facts[0], len(cuts)))
      stack.callback(writers[-1][0].abandon)
    _translate(way, job, cuts, writers[::-1], facts[0].size[::-1])
    for writer, _ in writers:  # the translation says that all is there
      writer.close()


def _writer(way, job, path, domain, facts, count):
  """A `Volume` for a domain's pictures, and the function that types them."""
  values = way.model.values[domain]
  dtype = made_type(values, facts.dtype)

  def typed(image):
    return values.of_image(image, dtype)

  if inputs.is_dicom(job.picture.data):
    shape = (*facts.size, count)
    affine = _affine(job)
    made = Volume.of_series(path, affine, shape, values.channels, dtype)
  else:
    axis = job.picture.cut.axis
    made = Volume(path, job.picture.data, values.channels, dtype, axis)
  return made, typed


def _affine(job):
  """The affine of a series.

  Raises:
    UserError: its files do not tell where they lie.
  """
  from cyclegan_jax.data.arrays import dicom_series

  try:
    return dicom_series.geometry(job.parts)
  except Exception as e:  # pydicom raises all kinds
    raise UserError(
      f'{job.picture.name}: no NIfTI volume can be made of it ({e}): choose '
      '--format=tiff or npy'
    ) from e


def _translate(way, job, cuts, writers, size):
  count = max(1, way.fits(size))
  tally = partly.Tally()
  with tqdm(
    total=len(cuts), unit='slice', desc=job.output.name, disable=None
  ) as bar:
    for start in range(0, len(cuts), count):
      chunk = cuts[start : start + count]
      images = [picture_files.read(x, way.values[0], tally) for x in chunk]
      for i, made in enumerate(way.run(images, count)):
        for (writer, typed), image in zip(writers, made):
          writer.put(start + i, typed(image))
      bar.update(len(chunk))
  if line := tally.line(len(cuts)):
    warn_once(f'{job.picture.name}: {line}')
