"""Exports a trained generator as a program that runs without this package:

    python -m cyclegan_jax.export --model=runs/NAME --direction=a2b \\
      --format=onnx --output=a2b.onnx

--model is a run folder, a model folder, an official .pth file or a folder of
.pth files. --format is onnx, tflite, stablehlo (for jax.export.deserialize) or
savedmodel (a folder for tf.saved_model.load). The program accepts any batch,
height and width. Before it is moved to --output, it is run and its outputs are
compared with the model's. --format=web writes a page, one HTML file that
translates pictures in a browser, in all directions of the model:

    python -m cyclegan_jax.export --model=runs/NAME --format=web \\
      --runtime=onnxruntime-web-1.30.0.tgz --output=page.html

Exit codes: 0: done. 2: invalid input, or the outputs of the program differ from
the model's; a one-line message says why.
"""

import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import flags, program
from cyclegan_jax.exporters import asked

FLAGS = {
  **flags.MODEL_FLAGS,
  'format': (
    'NAME',
    '',
    'onnx | tflite | stablehlo | savedmodel | web: format of the export',
  ),
  'output': ('PATH', '', 'file to write; for savedmodel a folder'),
  'uint8': (
    '',
    False,
    'inputs and outputs are uint8; by default float32 in [-1, 1]',
  ),
  'layout': (
    'NAME',
    'nhwc',
    'nhwc | nchw: order of the axes of inputs and outputs',
  ),
  'size': (
    'HxW',
    '',
    'the only height and width that the program accepts; by default any',
  ),
  'batch': ('N', 0, 'the only batch that the program accepts; 0: any'),
  'weights': (
    'NAME',
    '',
    'float32 | float16: data type that the weights are stored in',
  ),
  'runtime': (
    'PATH',
    '',
    'web: package of ONNX Runtime Web, a .tgz file of npm or a folder',
  ),
  'webgpu': ('', False, 'web: use a GPU if the browser offers one'),
  'overwrite': ('', False, 'replace an existing --output'),
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is not a flag: see --help')
  flags.require(values, 'model', 'format', 'output')
  size = asked.size(values['size'])
  if values['batch'] < 0:
    raise UserError(f'--batch={values["batch"]} must be 0 or more')
  asked.check_belong(values)
  output = files.place(values['output'])
  program.quiet()
  from cyclegan_jax.exporters import checked, formats, web
  from cyclegan_jax.inference import saved

  stored = {name: form.weights for name, form in formats.FORMATS.items()}
  stored[asked.WEB] = web.WEIGHTS
  possible = lookup(stored, values['format'], '--format')
  lookup(formats.LAYOUTS, values['layout'], '--layout')
  weights = asked.weights(values, possible)
  asked.check_output(output, values)
  if values['format'] == asked.WEB:
    from cyclegan_jax.exporters.web import command

    return command.export(output, values, weights)
  checked.check_packages(values['format'])
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
      f'tested on {batch} x {height}x{width}: largest difference to the model '
      f'{error:.2g}'
    )
  return None


if __name__ == '__main__':
  sys.exit(program.run(main))
