"""Compiles a training step for TPUs, without a TPU or a dataset:

    python -m cyclegan_jax.aot --config=configs/NAME.py \\
      --topology=v5e:4x4 --batch=16 [--top=N]

Prints, per chip: the memory, the work, the communication, the precision of the
convolutions, and two estimates of the time of a step, from the chip's published
figures and from the compiler (docs/scaling.md). With --top=N, also prints the N
layers with the longest time as the compiler estimates it; the forward and the
backward pass of a layer are separate rows. The step uses all chips of the
topology (parallel.devices is ignored) and images of data.crop_size pixels in
width and height. Needs libtpu: pip install 'cyclegan_jax[tpu]'. Exit codes: 0:
done, and the step fits in the memory of a chip. 2: the step does not fit, or
invalid input; a one-line message says why.
"""

import os
import sys
import time

from cyclegan_jax.common import machine, quiet
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {
  'topology': ('NAME', 'v5e:4x4', 'TPU chips to compile for'),
  'batch': (
    'N',
    0,
    'pictures of each domain in a step, over all chips together; 0: '
    'train.batch_size of the recipe card',
  ),
  'top': (
    'N',
    0,
    'number of layers in a table of estimated times; 0: no table',
  ),
}
_STEPS_PER_EPOCH = 1000  # any number: a constant of the compiled program


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  # Set before JAX is imported, which must not look for a TPU. libtpu must not
  # ask a cloud metadata server, nor wait for another process that has a TPU.
  os.environ.update(
    JAX_PLATFORMS='cpu', TPU_SKIP_MDS_QUERY='1', ALLOW_MULTIPLE_LIBTPU_LOAD='1'
  )
  program.quiet()
  machine.show_libtpu()
  from cyclegan_jax.tpu import chips, compiled_step, expected

  batch_size = values['batch'] or config.train.batch_size
  topology = values['topology']
  _check_top(values['top'], topology)
  with quiet.silent_stderr():
    mesh = compiled_step.make_mesh(topology)
  traced = trace(config, mesh, batch_size)
  print(
    f'compiling for {mesh.size} chips ({topology}), batch {batch_size}: this '
    'takes minutes',
    flush=True,
  )
  start = time.monotonic()
  executable = compiled_step.compile_traced(traced)
  seconds = time.monotonic() - start
  gib = chips.find(topology).hbm_gib
  print(report(traced, executable, topology))
  if values['top']:
    clock = chips.find(topology).clock
    print(*expected.table(executable.as_text(), clock, values['top']), sep='\n')
  print(f'{"compile time":<28}{seconds:.0f} s')
  fits = compiled_step.memory(executable)['total'] <= gib * 2**30
  print(f'the step {"fits" if fits else "DOES NOT FIT"} the chip')
  return 0 if fits else program.USER_ERROR


def _check_top(rows, topology):
  """Raises `UserError` if --top is negative or has no times for the chips."""
  from cyclegan_jax.tpu import chips

  if rows < 0:
    raise UserError(f'--top={rows} must be at least 0')
  if rows and not chips.find(topology).clock:
    raise UserError(
      f'--top={rows} needs the clock rate of the chip, which is not published '
      f'for --topology={topology}: use --top=0'
    )


def trace(config, mesh, batch_size):
  """Returns the traced training step of a config, for the chips of a mesh.

  Args:
    config: a ConfigDict.
    mesh: the mesh of TPU chips, from `compiled_step.make_mesh`.
    batch_size: pictures of each domain in a step, over all chips together.

  Raises:
    UserError: an invalid value, an option that is set but not used, or a batch
      that cannot be divided among the chips.
  """
  from cyclegan_jax.config.method import build_method
  from cyclegan_jax.config.run import build_optimizers, check_values
  from cyclegan_jax.config.unused import check_used
  from cyclegan_jax.tpu import compiled_step
  from cyclegan_jax.training import optim

  check_values(config)
  check_used(config)
  c = config.data
  schedule = optim.schedule(steps_per_epoch=_STEPS_PER_EPOCH, **config.schedule)
  return compiled_step.trace(
    build_method(config, platform='tpu'),
    build_optimizers(config, schedule),
    mesh,
    {
      domain: (batch_size, c.crop_size, c.crop_size, channels)
      for domain, channels in (('a', c.channels_a), ('b', c.channels_b))
    },
    pool_size=config.pool_size,
    ema_decay=config.train.ema_decay,
    accumulate=config.train.accumulate,
  )


def report(traced, executable, topology):
  """Returns the lines on memory, work and estimated time of a compiled step.

  Args:
    traced: the result of `trace`.
    executable: the step compiled from `traced`.
    topology: name of the TPU chips, such as 'v5e:4x4'.

  Returns:
    A text of several lines; all figures are per chip.
  """
  from cyclegan_jax.tpu import chips, compiled_step, hlo

  text = executable.as_text()
  flops = compiled_step.convolution_flops(traced.jaxpr)
  used = compiled_step.memory(executable)
  gib = chips.find(topology).hbm_gib
  lines = [
    ('HBM per chip', f'{_gib(used.pop("total"))} of {gib} GiB'),
    *((f'  {part}', _gib(size)) for part, size in used.items()),
    ('convolutions per step', f'{flops / 1e9:,.1f} GFLOP per chip'),
  ]
  for operation, (count, size) in hlo.collectives(text).items():
    lines.append((operation, f'{count}, {size / 1e6:,.1f} MB in total'))
  for dtypes, count in hlo.convolutions(text).items():
    lines.append((f'convolutions of {dtypes}', f'{count}'))
  lines += _times(topology, flops, text)
  return '\n'.join(f'{name:<28}{value}' for name, value in lines)


def _times(topology, flops, text):
  """Returns rows of estimated times of a step: a lower bound, the compiler's.

  The lower bound comes from the published figures of the chips.
  """
  from cyclegan_jax.tpu import chips, hbm_traffic, hlo

  chip = chips.find(topology)
  moved = hbm_traffic.count(text)
  least = chips.estimate(
    chip, chips.axes(topology), flops, moved, hlo.collectives(text)
  )
  lines = [
    ('a step takes at least', _ms(least.step)),
    ('  convolutions at peak rate', _ms(least.compute)),
    ('  memory traffic', f'{_ms(least.memory)}, {moved / 1e9:,.1f} GB'),
    ('  links, not overlapped', _ms(least.links)),
  ]
  total, convolutions = hlo.cycles(text)
  if chip.clock and total:
    lines += [
      ('compiler estimate', _ms(total / chip.clock + least.links)),
      ('  in convolutions', _ms(convolutions / chip.clock)),
    ]
  return lines


def _ms(seconds):
  return f'{seconds * 1e3:.2f} ms'


def _gib(size):
  return f'{size / 2**30:.2f} GiB'


if __name__ == '__main__':
  sys.exit(program.run(main))
