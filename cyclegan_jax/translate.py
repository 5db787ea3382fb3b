"""Translates pictures, or a video, of any size:

    python -m cyclegan_jax.translate --model=runs/NAME --direction=a2b \\
      --input=FOLDER --output=FOLDER

--model is a run's folder, a folder of imported weights, an official .pth file
or a folder of such; --input a picture, a folder with all below it, a pattern in
quotes such as 'photos/*.jpg', or a video (.mp4 .mov .avi .mkv .webm). Names and
folders are kept, sizes too. Run the same command again to continue where it
stopped. Several processes share the pictures (--distributed=auto, or the three
flags behind it). Exit codes: 0 done, 2 something given doesn't fit (pictures
that can't be used are named, all others translated), 130 stopped by Ctrl-C.
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
    'folder of the translations; of one picture or video also a file, b.png',
  ),
  'reconstruct': ('', False, 'also translates back, NAME.reconstructed.png'),
  'side-by-side': ('', False, 'input, translation and all in one picture'),
  'format': (
    'NAME',
    '',
    'png | jpg | webp | tiff | npy | npz, of volumes also nii | nii.gz; by '
    'default the ending of --output, else the format of arrays and volumes '
    '(DICOM: nii.gz), else png',
  ),
  'batch': ('N', 4, 'pictures of one size at a time, where that fits'),
  'tile': ('', False, 'goes through every picture by tiles, in little memory'),
  'memory': (
    'GIB',
    0.0,
    'memory for one translation, beyond which pictures go by tiles; 0: half '
    'of what is free. What tiles need beyond it goes to files in TMPDIR',
  ),
  'smooth': (
    'X',
    0.0,
    'for videos: share of the frame before in each frame, in [0, 1)',
  ),
  'overwrite': ('', False, 'replaces what is there instead of going on'),
  **flags.PROCESS_FLAGS,
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is no flag: see --help')
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
      search.search(values['input'])  # a wrong path is answered at once
    loaded, direction = saved.from_flags(values)
    _check_way_back(loaded, values)
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
  """The jobs of --input; their formats depend on what the model makes."""
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

  Returns:
    The `batches.Result` of pictures and volumes, and how many videos were
    translated and could not be used.
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
  """Translates each of some jobs; returns how many failed."""
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
  """Prints a line in the process that speaks for all."""
  from cyclegan_jax.common import hosts

  if hosts.writes():
    print(line)


def _check(values):
  if values['batch'] < 1:
    raise UserError(f'--batch={values["batch"]} must be at least 1')
  if not 0 <= values['smooth'] < 1:
    raise UserError(f'--smooth={values["smooth"]} must be in [0, 1)')
  if values['memory'] < 0:
    raise UserError(f'--memory={values["memory"]} must be 0 or more')


def _check_way_back(loaded, values):
  if values['reconstruct'] and len(loaded.directions) < 2:
    raise UserError(
      f'--reconstruct needs both directions: {values["model"]} has only '
      f'{loaded.directions[0]}; give the folder that holds the other one too'
    )


def _begin(output, jobs, single, loaded, direction, values):
  """Writes what makes the translations, or checks that it is the same.

  So a folder never holds pictures of two models under one look, and nothing
  else is taken for a translation or replaced by one. A file that the user named
  has a record of its own, which knows its input too.
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
    if single and there:  # it stays if nothing can take its place
      one_file.check_usable(single, loaded.values[direction[0]])
    for path in there:
      with contextlib.suppress(OSError):  # `_replaceable` names it
        path.unlink()
  elif not before:
    mine = [record] if record.exists() else []
    if mine := there + _reconstructions(jobs, values) + mine:
      raise UserError(
        f'{mine[0]} is there and is no translation: use another --output, or '
        '--overwrite to replace it'
      )
  elif there:
    different = [key for key in now if before.get(key) != now[key]]
    if different:
      raise UserError(
        f'{output} (--output) holds translations by other '
        f'{" and ".join(different)}: use another '
        f'{"name" if single else "folder"}, or --overwrite'
      )
  with files.writing(output):
    if address.is_address(loaded.name):
      now['model'] = loaded.name  # with the commit
    files.write(record, json.dumps(now, indent=2) + '\n')


def _reconstructions(jobs, values):
  """Files that have the names of the reconstructions to write."""
  from cyclegan_jax.inference import batches, names

  if not values['reconstruct'] or values['side-by-side']:
    return []
  backs = (job._replace(output=names.back(job.output)) for job in jobs)
  return [job.output for job in backs if batches.there(job)]


def _replaceable(jobs, overwrite):
  """The jobs to do, and how many have outputs that --overwrite can't remove."""
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
  """The content that `_begin` wrote; empty if there is no such file."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) and 'weights' in content else {}


def _conclude(done, there, bad, videos, unusable, output, says):
  """Says what was done, if this process `says`; returns the exit code."""
  done = f'{done} picture{"" if done == 1 else "s"}'
  if videos:
    done += f', {videos} video{"" if videos == 1 else "s"}'
  there = f', {there} were there' if there else ''
  if says:
    print(f'translated {done}{there}: in {output}')
  if bad := bad + unusable:
    if says:
      print(
        f'error: {bad} of the files could not be used, named above',
        file=sys.stderr,
      )
    return program.USER_ERROR
  return 0


if __name__ == '__main__':
  program.large_pages()
  sys.exit(program.run(main))
