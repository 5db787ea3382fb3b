"""Translates pictures, or a video, of any size:

    python -m cyclegan_jax.translate --model=runs/NAME --direction=a2b \\
      --input=FOLDER --output=FOLDER

--model is a run folder, a model folder, an official .pth file or a folder of
.pth files. --input is a picture, a folder (with its subfolders), a pattern in
quotes such as 'photos/*.jpg', or a video (.mp4 .mov .avi .mkv .webm). The
translations keep the names, subfolders and sizes of the inputs. Run the same
command again to continue a stopped translation. Several processes can share the
pictures (--distributed=auto, or --coordinator, --num-processes and
--process-id). Exit codes: 0: done. 2: invalid input, or some pictures cannot be
used; they are named, and all others are translated. 130: stopped by Ctrl-C.
"""

import contextlib
import json
import sys
from functools import partial

import numpy as np

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import flags, program

FLAGS = {
  **flags.MODEL_FLAGS,
  'input': ('PATH', '', 'picture, folder, pattern in quotes, or video'),
  'output': (
    'PATH',
    '',
    'folder for the translations; for one picture or video also a file name, '
    'such as b.png',
  ),
  'reconstruct': (
    '',
    False,
    'also write the reconstruction of each picture, NAME.reconstructed.png',
  ),
  'side-by-side': (
    '',
    False,
    'write input, translation and any reconstruction into one picture',
  ),
  'format': (
    'NAME',
    '',
    'png | jpg | webp | tiff | npy | npz, for volumes also nii | nii.gz; by '
    'default the ending of --output, else the format of the input for arrays '
    'and volumes (nii.gz for DICOM), else png',
  ),
  'batch': (
    'N',
    4,
    'largest number of pictures of equal size that are translated together',
  ),
  'tile': (
    '',
    False,
    'process every picture in tiles, which needs less memory',
  ),
  'memory': (
    'GIB',
    0.0,
    'memory in GiB for one translation; pictures that need more are processed '
    'in tiles, and what tiles need beyond it is kept in files in TMPDIR; 0: '
    'half of the free memory',
  ),
  'smooth': (
    'X',
    0.0,
    'for videos: weight of the previous frame in each frame, in [0, 1); 0: '
    'frames are independent',
  ),
  'overwrite': (
    '',
    False,
    'replace existing translations; by default they are kept and skipped',
  ),
  **flags.PROCESS_FLAGS,
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is not a flag: see --help')
  flags.require(values, 'model', 'input', 'output')
  _check(values)
  program.quiet()
  from cyclegan_jax.common import files, hosts
  from cyclegan_jax.inference import (
    batches,
    one_file,
    picture_files,
    saved,
    search,
  )
  from cyclegan_jax.training import processes

  if values['format']:
    lookup(picture_files.FORMATS, values['format'], '--format')
  processes.join(values)
  output = files.place(values['output'])
  with processes.together():
    both = values['reconstruct'] and not values['side-by-side']
    single = one_file.find(
      values['input'], values['output'], values['format'], both
    )
    if not single:
      search.search(values['input'])  # reports a wrong path before the loading
    loaded, direction = saved.from_flags(values)
    _check_reconstruction(loaded, values)
    jobs = [single] if single else _found(loaded, direction, output, values)
    if hosts.writes():
      _begin(output, jobs, single, loaded, direction, values)
      batches.clean(jobs)
  way = batches.Way(
    loaded,
    direction,
    reconstruct=values['reconstruct'],
    joined=values['side-by-side'],
    batch=values['batch'],
    tile=values['tile'],
    memory=int(values['memory'] * 2**30) or batches.free_memory() // 2,
  )
  own, stuck = _replaceable(hosts.own_part(jobs), values['overwrite'])
  folder = output.parent if single else output
  result, videos, unusable = _translate(way, own, folder, values['smooth'])
  counts = hosts.from_all(np.array([*result, videos, unusable + stuck]))
  if single and hosts.writes() and not batches.there(single):
    files.remove(one_file.record(single))
  return _conclude(*counts.sum(axis=0).tolist(), output, hosts.writes())


def _found(loaded, direction, output, values):
  """Returns the jobs for the files of --input.

  Args:
    loaded: the model; the kind of its outputs decides the default format.
    direction: 'a2b' or 'b2a'.
    output: the folder for the translations.
    values: {flag: value}.
  """
  from cyclegan_jax.data.picture import Cut
  from cyclegan_jax.inference import inputs, video

  joined, made = values['side-by-side'], loaded.values[direction[2]]
  data = loaded.config.data
  return inputs.find(
    values['input'],
    output,
    values['format'] or partial(inputs.default_format, made, joined),
    video.ending,
    values['reconstruct'] and not joined,
    _say,
    Cut(data.axis, pages=data.pages),
  )


def _translate(way, jobs, folder, smooth):
  """Translates pictures, volumes and videos.

  Args:
    way: a `batches.Way`.
    jobs: the jobs of this process.
    folder: the folder that printed names are relative to.
    smooth: weight of the previous frame in each video frame, in [0, 1).

  Returns:
    The `batches.Result` of pictures and volumes, the number of translated
    videos, and the number of videos that could not be used.
  """
  from cyclegan_jax.inference import batches, inputs, video, volume_files

  videos = [job for job in jobs if video.ending(job.picture.data)]
  volumes = [job for job in jobs if inputs.is_volume(job)]
  pictures = [
    job
    for job in jobs
    if not (video.ending(job.picture.data) or inputs.is_volume(job))
  ]
  done, there, bad = batches.translate_all(way, pictures, folder)
  left = [job for job in volumes if not batches.there(job)]
  failed = _one_by_one(left, partial(volume_files.translate, way), folder)
  result = batches.Result(
    done + len(left) - failed, there + len(volumes) - len(left), bad + failed
  )
  translate = partial(video.translate, way, smooth=smooth)
  failed = _one_by_one(videos, translate, folder)
  return result, len(videos) - failed, failed


def _one_by_one(jobs, translate, folder):
  """Calls `translate` for every job; returns the number of failures.

  A failure is printed, and the remaining jobs are still translated.
  """
  from cyclegan_jax.inference import batches

  failed = 0
  for job in jobs:
    try:
      translate(job)
    except Exception as e:
      print(batches.skipped(job, e, folder), file=sys.stderr)
      failed += 1
  return failed


def _say(line):
  """Prints a line; of several processes, only one prints."""
  from cyclegan_jax.common import hosts

  if hosts.writes():
    print(line)


def _check(values):
  """Raises `UserError` for a number of a flag that is out of its range."""
  if values['batch'] < 1:
    raise UserError(f'--batch={values["batch"]} must be at least 1')
  if not 0 <= values['smooth'] < 1:
    raise UserError(f'--smooth={values["smooth"]} must be in [0, 1)')
  if values['memory'] < 0:
    raise UserError(f'--memory={values["memory"]} must be 0 or more')


def _check_reconstruction(loaded, values):
  """Raises `UserError` if --reconstruct lacks the opposite generator."""
  if values['reconstruct'] and len(loaded.directions) < 2:
    raise UserError(
      f'--reconstruct needs both directions, but {values["model"]} has only '
      f'{loaded.directions[0]}: give a folder that holds both generators'
    )


def _begin(output, jobs, single, loaded, direction, values):
  """Writes the record of a translation, or checks an existing record.

  The record names the weights and settings. It ensures that a folder never
  mixes translations of two models, and that a file of the user is never taken
  for a translation or replaced. The record of a single file that --output names
  also identifies the input.

  Args:
    output: the path of --output.
    jobs: all jobs.
    single: the job whose output file --output names, or None.
    loaded: the model.
    direction: 'a2b' or 'b2a'.
    values: {flag: value}.

  Raises:
    UserError: an output file exists and is not a translation, or was made with
      other weights or settings; or, with --overwrite, the single input cannot
      be used.
  """
  from cyclegan_jax.common import files
  from cyclegan_jax.hub import address
  from cyclegan_jax.inference import batches, one_file

  now = {
    'weights': f'{loaded.checksum():08x}',
    'direction': direction,
    **{
      name: values[name]
      for name in ('reconstruct', 'side-by-side', 'batch-norm', 'smooth')
    },
  }
  record = output / 'translate.json'
  if single:
    record = one_file.record(single)
    now['input'] = one_file.checksum(single)
  there = [job.output for job in jobs if batches.there(job)]
  before = _read(record)
  if values['overwrite']:
    if single and there:  # the old file stays if the new input is unusable
      one_file.check_usable(single, loaded.values[direction[0]])
    for path in there:
      with contextlib.suppress(OSError):  # `_replaceable` reports the file
        path.unlink()
  elif not before:
    mine = [record] if record.exists() else []
    if mine := there + _reconstructions(jobs, values) + mine:
      raise UserError(
        f'{mine[0]} already exists and was not written by '
        'cyclegan_jax.translate: use another --output, or --overwrite to '
        'replace it'
      )
  elif there:
    different = [key for key in now if before.get(key) != now[key]]
    if different:
      raise UserError(
        f'{output} (--output) holds translations with other '
        f'{" and ".join(different)}: use another '
        f'{"name" if single else "folder"}, or --overwrite'
      )
  with files.writing(output):
    if address.is_address(loaded.name):
      now['model'] = loaded.name  # includes the hash of the commit
    files.write(record, json.dumps(now, indent=2) + '\n')


def _reconstructions(jobs, values):
  """Returns existing files with the names of the reconstructions to write."""
  from cyclegan_jax.inference import batches, names

  if not values['reconstruct'] or values['side-by-side']:
    return []
  backs = (job._replace(output=names.back(job.output)) for job in jobs)
  return [job.output for job in backs if batches.there(job)]


def _replaceable(jobs, overwrite):
  """Returns the jobs to do, and the number of outputs that cannot be replaced.

  Prints a line for each output that --overwrite could not remove.
  """
  from cyclegan_jax.inference import batches

  stuck = [job for job in jobs if overwrite and batches.there(job)]
  for job in stuck:
    print(
      f'skipped: {job.output} (--output) cannot be replaced: make its folder '
      'writable',
      file=sys.stderr,
    )
  if stuck:
    jobs = [job for job in jobs if job not in stuck]
  return jobs, len(stuck)


def _read(path):
  """Returns the record that `_begin` wrote, or {} if there is none."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) and 'weights' in content else {}


def _conclude(done, there, bad, videos, unusable, output, says):
  """Prints a summary of the translations and returns the exit code.

  Args:
    done: number of translated pictures and volumes.
    there: number of pictures and volumes that were translated earlier.
    bad: number of pictures and volumes that cannot be used.
    videos: number of translated videos.
    unusable: number of videos, and of outputs that cannot be replaced.
    output: the path of --output.
    says: True in the process that prints.
  """
  done = f'{done} picture{"" if done == 1 else "s"}'
  if videos:
    done += f', {videos} video{"" if videos == 1 else "s"}'
  there = f', {there} existed already' if there else ''
  if says:
    print(f'translated {done}{there}: in {output}')
  if bad := bad + unusable:
    if says:
      print(
        f'error: {bad} of the files could not be used (they are named above)',
        file=sys.stderr,
      )
    return program.USER_ERROR
  return 0


if __name__ == '__main__':
  program.large_pages()
  sys.exit(program.run(main))
