"""Compiles a training step for TPUs, with no TPU and no data set at hand:

    python -m cyclegan_jax.aot --config=configs/NAME.py \\
      --topology=v5e:4x4 --batch=16

Prints the memory a chip needs, the work, the communication and the precision of
the convolutions. All chips of the topology take part, whatever
parallel.devices says; pictures are data.crop_size wide and high. Needs
libtpu: pip install 'cyclegan_jax[tpu]'. Exit codes: 0 done and it fits the
chip, 2 it doesn't, or something given doesn't.
"""

import os
import sys
import time

from cyclegan_jax import cli

FLAGS = {
  'topology': ('NAME', 'v5e:4x4', 'the chips to compile for'),
  'batch': ('N', 0, 'pictures of each domain on all chips; train.batch_size'),
}
_STEPS_PER_EPOCH = 1000  # any number: it stands in the program as a constant


def main(argv):
  config, values = cli.parse_flags(argv, __doc__, FLAGS)
  # Before JAX: it must not look for a TPU. Nor should libtpu for a cloud
  # machine, or for the other process that may have a TPU.
  os.environ.update(
    JAX_PLATFORMS='cpu', TPU_SKIP_MDS_QUERY='1', ALLOW_MULTIPLE_LIBTPU_LOAD='1'
  )
  cli.quiet()
  from cyclegan_jax import chips, compiled

  batch_size = values['batch'] or config.train.batch_size
  topology = values['topology']
  with cli.silent_stderr():
    mesh = compiled.make_mesh(topology)
  traced = trace(config, mesh, batch_size)
  print(
    f'compiling for {mesh.size} chips ({topology}), batch {batch_size}: takes '
    'minutes',
    flush=True,
  )
  start = time.monotonic()
  executable = compiled.compile_traced(traced)
  seconds = time.monotonic() - start
  gib = chips.find(topology).hbm_gib
  print(report(traced, executable, topology))
  print(f'{"compile time":<28}{seconds:.0f} s')
  fits = compiled.memory(executable)['total'] <= gib * 2**30
  print(f'it {"fits" if fits else "DOES NOT FIT"} the chip')
  return 0 if fits else cli.USER_ERROR


def trace(config, mesh, batch_size):
  """The training step a config asks for, traced for the chips of a mesh.

  Raises:
    UserError: a value that can't be, or a batch that does not divide.
  """
  from cyclegan_jax import build, compiled, optim

  build.check_values(config)
  c = config.data
  schedule = optim.schedule(steps_per_epoch=_STEPS_PER_EPOCH, **config.schedule)
  return compiled.trace(
    build.build_method(config, platform='tpu'),
    build.build_optimizers(config, schedule),
    mesh,
    {
      domain: (batch_size, c.crop_size, c.crop_size, channels)
      for domain, channels in (('a', c.channels_a), ('b', c.channels_b))
    },
    pool_size=config.pool_size,
    ema_decay=config.train.ema_decay,
    parts=config.train.accumulate,
  )


def report(traced, executable, topology):
  """What a compiled step needs and does, in lines."""
  from cyclegan_jax import chips, compiled, hlo

  chip = chips.find(topology)
  used = compiled.memory(executable)
  flops = compiled.convolution_flops(traced.jaxpr)
  cost = executable.cost_analysis()
  traffic = cost.get('bytes accessed', 0)
  text = executable.as_text()
  collectives = hlo.collectives(text)
  lines = [
    ('HBM a chip', f'{_gib(used.pop("total"))} of {chip.hbm_gib} GiB'),
    *((f'  {part}', _gib(size)) for part, size in used.items()),
    ('convolutions a step', f'{flops / 1e9:,.1f} GFLOP a chip'),
    (
      "compiler's count",
      f'{cost.get("flops", 0) / 1e9:,.1f} GFLOP and {traffic / 1e9:,.1f} GB a '
      'chip, the body of a loop once',
    ),
  ]
  for operation, (count, size) in collectives.items():
    lines.append((operation, f'{count}, of {size / 1e6:,.1f} MB in all'))
  for dtypes, count in hlo.convolutions(text).items():
    lines.append((f'convolutions of {dtypes}', f'{count}'))
  estimate = chips.estimate(
    chip, chips.axes(topology), flops, traffic, collectives
  )
  lines += _times(estimate)
  return '\n'.join(f'{name:<28}{value}' for name, value in lines)


def _times(estimate):
  """Lines of an estimate."""
  return [
    ('a step, estimated', f'{estimate.step * 1e3:.2f} ms'),
    *(
      (f'  {part}', f'{seconds * 1e3:.2f} ms')
      for part, seconds in estimate._asdict().items()
    ),
  ]


def _gib(size):
  return f'{size / 2**30:.2f} GiB'


if __name__ == '__main__':
  sys.exit(cli.run(main))
