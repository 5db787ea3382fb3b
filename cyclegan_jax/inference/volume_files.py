"""Translates NIfTI volumes and DICOM series slice by slice."""

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
  """Translates a volume or DICOM series to a NIfTI file with its grid.

  The memory used does not grow with the volume. An existing output is replaced.

  Args:
    way: the `batches.Way`: model, direction and settings. With `reconstruct`,
      the reconstruction is written as well.
    job: the `inputs.Job` of the volume or series.

  Raises:
    UserError: the volume cannot be read, its slices differ in size, or the
      translation cannot be written.
  """
  if inputs.form_of(job.picture.data) is None:
    raise UserError(
      f'{job.picture.name} is not a volume: choose --format=png, tiff or npy'
    )
  cuts = inputs.slices(job)
  facts = [raw.facts(x, raw.form_of(x, raw.ANY)) for x in cuts]
  sizes = collections.Counter(x.size for x in facts)
  if len(sizes) > 1:
    raise UserError(
      f'{job.picture.name}: slices of {len(sizes)} sizes, but a volume needs '
      'slices of one size: remove the others'
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
    for writer, _ in writers:  # translation last: `batches.there` looks for it
      writer.close()


def _writer(way, job, path, domain, facts, count):
  """Returns a domain's `Volume`, and a function: image -> values to put."""
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
  """Returns the affine [4, 4] of a DICOM series.

  Raises:
    UserError: the files of the series give no position, spacing or orientation.
  """
  from cyclegan_jax.data.arrays import dicom_series

  try:
    return dicom_series.geometry(job.parts)
  except Exception as e:  # pydicom raises many types
    raise UserError(
      f'{job.picture.name}: the series cannot become a NIfTI volume ({e}): '
      'choose --format=tiff or npy'
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
