"""Writes a trained generator as a program that runs without this package:

    python -m cyclegan_jax.export --model=runs/NAME --direction=a2b \\
      --format=onnx --output=a2b.onnx

--model is a run's folder, a folder of imported weights, an official .pth file
or a folder of such; --format is onnx, stablehlo (for jax.export.deserialize) or
savedmodel (a folder for tf.saved_model.load). It takes any batch, height and
width, and is run and compared with the model before it takes its place.
Exit codes: 0 done, 2 something given doesn't fit, or it differs from the model.
"""

import re
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import flags, program

FLAGS = {
  **flags.MODEL_FLAGS,
  'format': ('NAME', '', 'onnx | stablehlo | savedmodel'),
  'output': ('PATH', '', 'the file; for savedmodel the folder'),
  'uint8': ('', False, 'takes and gives uint8; else float32 in [-1, 1]'),
  'layout': ('NAME', 'nhwc', 'nhwc | nchw: where the channels are'),
  'size': ('HxW', '', 'the only height and width it takes; any'),
  'batch': ('N', 0, 'the only batch it takes; 0: any'),
  'weights': ('NAME', '', 'float32 | float16: the type they are stored in'),
  'overwrite': ('', False, 'replaces what is there'),
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is no flag: see --help')
  flags.require(values, 'model', 'format', 'output')
  size = _size(values['size'])
  if values['batch'] < 0:
    raise UserError(f'--batch={values["batch"]} must be 0 or more')
  output = files.place(values['output'])
  program.quiet()
  from cyclegan_jax.exporters import checked, formats
  from cyclegan_jax.inference import saved

  lookup(formats.FORMATS, values['format'], '--format')
  lookup(formats.LAYOUTS, values['layout'], '--layout')
  weights = _weights(values, formats)
  checked.check_packages(values['format'])
  _check_output(output, values)
  loaded, direction = saved.from_flags(values)
  wanted = formats.Wanted(
    loaded,
    direction,
    pixels=values['uint8'],
    layout=values['layout'],
    batch=values['batch'] or None,
    size=size,
    weights=weights,
  )
  result = checked.write(output, values['format'], wanted)
  print(
    f'wrote {output}: {result.bytes / 1e6:.3g} MB in {result.seconds:.1f} s'
  )
  for (batch, height, width), error in result.trials:
    print(
      f'run on {batch} of {height}x{width}: at most {error:.2g} off the model'
    )


def _size(text):
  """(height, width) of 'HxW'; None of nothing."""
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
  if text and not match:
    raise UserError(
      f'--size={text} must be a height and a width, such as 256x256'
    )
  return tuple(int(x) for x in match.groups()) if match else None


def _weights(values, formats):
  """Name of the type that weights are stored in; the format's own by default."""
  possible = formats.FORMATS[values['format']].weights
  chosen = values['weights'] or possible[0]
  if chosen not in possible:
    raise UserError(
      f'--weights={chosen}: --format={values["format"]} stores '
      f'{" or ".join(possible)}'
    )
  return chosen


def _check_output(output, values):
  """Refuses what would be lost, and folders that are no SavedModel always."""
  is_folder = values['format'] == 'savedmodel'
  example = output / f'model.{values["format"]}'
  name = 'name another' if is_folder else f'name a file, such as {example}'
  if values['output'].endswith('/') and not is_folder:
    raise UserError(f'{values["output"]} (--output) is a folder: {name}')
  if not output.exists():
    return
  if output.is_dir() and not (output / 'saved_model.pb').is_file():
    raise UserError(
      f'{output} (--output) is a folder of something else: {name}'
    )
  if is_folder and not output.is_dir():
    raise UserError(f'{output} (--output) is a file: name a folder')
  if not values['overwrite']:
    raise UserError(
      f'{output} (--output) is there: name another, or --overwrite'
    )


if __name__ == '__main__':
  sys.exit(program.run(main))
