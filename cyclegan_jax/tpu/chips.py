"""What TPU chips can do, and what a step takes them at the least."""

import math
from typing import NamedTuple

from cyclegan_jax.common.errors import lookup


class Chip(NamedTuple):
  """A kind of chip, by published figures.

  Attributes:
    flops: operations a second in bfloat16, at the peak.
    hbm_gib: memory.
    hbm_speed: bytes a second from and to memory.
    link_speed: bytes a second of one link to a neighbour, each way.
    closed_by: an axis of so many chips, or a multiple, closes to a ring.
    cubes: whether all axes must do so for any to close.
    clock: cycles a second; None where the figures do not give it.
  """

  flops: float
  hbm_gib: int
  hbm_speed: float
  link_speed: float
  closed_by: int
  cubes: bool
  clock: float | None


# By what a topology's name starts with. From docs.cloud.google.com/tpu/docs/v4,
# /v5e, /v5p and /v6e: peak, memory and its speed as they stand there; a link is
# the "bidirectional ICI bandwidth per chip" by two ways and by 4 links (v5e,
# v6e: 400 and 800 GB/s) or 6 (v5p: 1200 GB/s). For v4 there is the all-reduce
# bandwidth of a pod, 1.1 PB/s, by 4096 chips and 6 links. Which axes close:
# jax-ml.github.io/scaling-book/tpus (of v5e and v6e those of 16, of v4 and v5p
# those of whole cubes of 4x4x4). The clock is the peak by the operations of a
# cycle, 2 for each place of the matrix units: 4 of 128x128 (v5e), 8 (v4, v5p).
# For v6e, two of 256x256, that would be 3.5 GHz, which is hard to believe.
CHIPS = {
  'v4': Chip(275e12, 32, 1200e9, 45e9, 4, True, 1.05e9),
  'v5e': Chip(197e12, 16, 819e9, 50e9, 16, False, 1.5e9),
  'v5p': Chip(459e12, 95, 2765e9, 100e9, 4, True, 1.75e9),
  'v6e': Chip(918e12, 32, 1638e9, 100e9, 16, False, None),
}
# What passes into each of n chips, in results of an operation.
_PASSES = {
  'all-reduce': lambda n: 2 * (n - 1) / n,  # a reduce-scatter and an all-gather
  'all-gather': lambda n: (n - 1) / n,
  'reduce-scatter': lambda n: n - 1,
  'all-to-all': lambda n: (n - 1) / n,
  'collective-permute': lambda n: 1,
  'collective-broadcast': lambda n: 1,
}


class Estimate(NamedTuple):
  """Seconds a step takes at the least, by what it waits for.

  Attributes:
    compute: its convolutions at the peak of the matrix units.
    memory: its traffic with memory at full speed.
    links: its communication at full speed, without the delay of each hop.
  """

  compute: float
  memory: float
  links: float

  @property
  def step(self):
    """Compute and memory side by side, and communication after them.

    Gradients are averaged when all of them are there, and the image pool needs
    the whole batch: neither can hide behind the work it belongs to.
    """
    return max(self.compute, self.memory) + self.links


def find(topology):
  """The `Chip` of a topology such as 'v5e:4x4'.

  Raises:
    UserError: there is no such chip here.
  """
  return lookup(CHIPS, topology.partition(':')[0], '--topology: chip')


def axes(topology):
  """Chips along each axis of a topology that libtpu knows: (4, 4)."""
  return tuple(int(n) for n in topology.partition(':')[2].split('x'))


def link_speed(chip, axes):
  """Bytes a second into a chip when all chips gather what all have.

  An axis that closes to a ring carries both ways, an open one as one way: what
  comes from the far end has but one path.

  Args:
    chip: a `Chip`.
    axes: chips along each axis, such as (8, 16).
  """
  closed = [n % chip.closed_by == 0 for n in axes]
  if chip.cubes:
    closed = [all(closed)] * len(axes)
  return chip.link_speed * sum(
    1 + ring for n, ring in zip(axes, closed) if n > 1
  )


def estimate(chip, axes, flops, traffic, collectives):
  """The `Estimate` of a step.

  Args:
    chip: a `Chip`.
    axes: chips along each axis.
    flops: operations of a chip's convolutions.
    traffic: bytes a chip reads from memory and writes to it.
    collectives: {operation: (how often, bytes of the results)}.
  """
  size = math.prod(axes)
  moved = sum(
    _PASSES[operation](size) * nbytes
    for operation, (_, nbytes) in collectives.items()
  )
  return Estimate(
    flops / chip.flops,
    traffic / chip.hbm_speed,
    moved / link_speed(chip, axes) if size > 1 else 0.0,
  )
