"""Compiles a training step for TPUs, with no TPU and no data set at hand:

    python -m cyclegan_jax.aot --config=configs/NAME.py \\
      --topology=v5e:4x4 --batch=16 [--top=N]

Prints the memory a chip needs, the work, the communication, the precision of
the convolutions, and what a step takes by the chip's published figures and by
the compiler's own expectation (docs/scaling.md); with --top=N also the N layers
that the compiler expects most time of, the forward and the backward pass of a
layer in rows of their own. All chips of the topology take part, whatever
parallel.devices says; pictures are data.crop_size wide and high.
Needs libtpu: pip install 'cyclegan_jax[tpu]'. Exit codes: 0 done and it fits
the chip, 2 it doesn't, or something given doesn't.
"""

import os
import sys
import time

from cyclegan_jax.common import machine, quiet
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {
  'topology': ('NAME', 'v5e:4x4', 'the chips to compile for'),
  'batch': ('N', 0, 'pictures of each domain on all chips; train.batch_size'),
  'top': ('N', 0, 'rows of a table of expected time by layer; 0 is no table'),
}
_STEPS_PER_EPOCH = 1000  # any number: it stands in the program as a constant


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  # Before JAX: it must not look for a TPU. Nor should libtpu for a cloud
  # machine, or for the other process that may have a TPU.
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
    f'compiling for {mesh.size} chips ({topology}), batch {batch_size}: takes '
    'minutes',
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
  print(f'it {"fits" if fits else "DOES NOT FIT"} the chip')
  return 0 if fits else program.USER_ERROR


def _check_top(rows, topology):
  """Raises a UserError for a --top without a table of times."""
  from cyclegan_jax.tpu import chips

  if rows < 0:
    raise UserError(f'--top={rows} must be at least 0')
  if rows and not chips.find(topology).clock:
    raise UserError(
      f'--top={rows} needs the clock of the chip, which is not published for '
      f'--topology={topology}: use --top=0'
    )


def trace(config, mesh, batch_size):
  """The training step a config asks for, traced for the chips of a mesh.

  Raises:
    UserError: a value that can't be or makes no difference, or a batch that
      does not divide.
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
  """What a compiled step needs and does, in lines."""
  from cyclegan_jax.tpu import chips, compiled_step, hlo

  text = executable.as_text()
  flops = compiled_step.convolution_flops(traced.jaxpr)
  used = compiled_step.memory(executable)
  gib = chips.find(topology).hbm_gib
  lines = [
    ('HBM a chip', f'{_gib(used.pop("total"))} of {gib} GiB'),
    *((f'  {part}', _gib(size)) for part, size in used.items()),
    ('convolutions a step', f'{flops / 1e9:,.1f} GFLOP a chip'),
  ]
  for operation, (count, size) in hlo.collectives(text).items():
    lines.append((operation, f'{count}, of {size / 1e6:,.1f} MB in all'))
  for dtypes, count in hlo.convolutions(text).items():
    lines.append((f'convolutions of {dtypes}', f'{count}'))
  lines += _times(topology, flops, text)
  return '\n'.join(f'{name:<28}{value}' for name, value in lines)


def _times(topology, flops, text):
  """Lines of what a step may take, by published figures of the chips."""
  from cyclegan_jax.tpu import chips, hbm_traffic, hlo

  chip = chips.find(topology)
  moved = hbm_traffic.count(text)
  least = chips.estimate(
    chip, chips.axes(topology), flops, moved, hlo.collectives(text)
  )
  lines = [
    ('a step takes at least', _ms(least.step)),
    ('  convolutions at the peak', _ms(least.compute)),
    ('  memory traffic', f'{_ms(least.memory)}, {moved / 1e9:,.1f} GB'),
    ('  links, after the others', _ms(least.links)),
  ]
  total, convolutions = hlo.cycles(text)
  if chip.clock and total:
    lines += [
      ('the compiler expects', _ms(total / chip.clock + least.links)),
      ('  of it in convolutions', _ms(convolutions / chip.clock)),
    ]
  return lines


def _ms(seconds):
  return f'{seconds * 1e3:.2f} ms'


def _gib(size):
  return f'{size / 2**30:.2f} GiB'


if __name__ == '__main__':
  sys.exit(program.run(main))
