"""Published speeds of TPU chips, and the least time a step takes on them."""

import math
from typing import NamedTuple

from cyclegan_jax.common.errors import lookup


class Chip(NamedTuple):
  """Published figures of a kind of TPU chip.

  Attributes:
    flops: peak operations per second in bfloat16.
    hbm_gib: size of the memory in GiB.
    hbm_speed: bytes per second between chip and memory.
    link_speed: bytes per second, in each direction, of one link to a neighbour.
    closed_by: an axis of the topology is a closed ring if its number of chips
      is a multiple of this number.
    cubes: True if an axis is closed only if all axes are.
    clock: cycles per second; None if the figures do not give it.
  """

  flops: float
  hbm_gib: int
  hbm_speed: float
  link_speed: float
  closed_by: int
  cubes: bool
  clock: float | None


# Keys: the part of a topology's name before the colon.
# Source of peak, memory and memory speed: docs.cloud.google.com/tpu/docs/v4,
# /v5e, /v5p and /v6e. Link speed: the "bidirectional ICI bandwidth per chip"
# divided by 2 directions and by 4 links (v5e: 400 GB/s, v6e: 800 GB/s) or 6
# links (v5p: 1200 GB/s). For v4, only the all-reduce bandwidth of a pod is
# published: 1.1 PB/s, divided by 4096 chips and 6 links. Closed axes, from
# jax-ml.github.io/scaling-book/tpus: axes of 16 chips for v5e and v6e, whole
# cubes of 4x4x4 chips for v4 and v5p. The clock is the peak divided by the
# operations per cycle, which are 2 per cell of the matrix units: 4 units of
# 128x128 cells (v5e) or 8 (v4, v5p). For v6e, with 2 units of 256x256 cells,
# the result would be an implausible 3.5 GHz.
CHIPS = {
  'v4': Chip(275e12, 32, 1200e9, 45e9, 4, True, 1.05e9),
  'v5e': Chip(197e12, 16, 819e9, 50e9, 16, False, 1.5e9),
  'v5p': Chip(459e12, 95, 2765e9, 100e9, 4, True, 1.75e9),
  'v6e': Chip(918e12, 32, 1638e9, 100e9, 16, False, None),
}
# Bytes that each of n chips receives, as a multiple of the operation's result.
_PASSES = {
  'all-reduce': lambda n: 2 * (n - 1) / n,  # a reduce-scatter and an all-gather
  'all-gather': lambda n: (n - 1) / n,
  'reduce-scatter': lambda n: n - 1,
  'all-to-all': lambda n: (n - 1) / n,
  'collective-permute': lambda n: 1,
  'collective-broadcast': lambda n: 1,
}


class Estimate(NamedTuple):
  """Lower bounds of the time that parts of a step take, in seconds.

  Attributes:
    compute: time of the convolutions, at the peak of the matrix units.
    memory: time of the memory traffic, at full speed.
    links: time of the communication between chips, at full speed and without
      the latency of each hop.
  """

  compute: float
  memory: float
  links: float

  @property
  def step(self):
    """Lower bound of the time of a step, in seconds.

    Computation and memory traffic overlap, communication comes after both:
    gradients are averaged once all of them are computed, and the image pool
    needs the whole batch.
    """
    return max(self.compute, self.memory) + self.links


def find(topology):
  """Returns the published figures of a topology's chips, as a `Chip`.

  Args:
    topology: kind of chip and chips along each axis, such as 'v5e:4x4'.

  Raises:
    UserError: the kind of chip is not in `CHIPS`.
  """
  return lookup(CHIPS, topology.partition(':')[0], '--topology: chip')


def axes(topology):
  """Returns the numbers of chips along the axes of a topology.

  Args:
    topology: text such as 'v5e:4x4', which gives (4, 4).
  """
  return tuple(int(n) for n in topology.partition(':')[2].split('x'))


def link_speed(chip, axes):
  """Returns the bytes per second that a chip receives in an all-gather.

  An axis that is a closed ring delivers data from both directions. An open axis
  counts as one direction only, because data from the far end has one path.

  Args:
    chip: a `Chip`.
    axes: number of chips along each axis, such as (8, 16).
  """
  closed = [n % chip.closed_by == 0 for n in axes]
  if chip.cubes:
    closed = [all(closed)] * len(axes)
  return chip.link_speed * sum(
    1 + ring for n, ring in zip(axes, closed) if n > 1
  )


def estimate(chip, axes, flops, traffic, collectives):
  """Returns the `Estimate` of a step.

  Args:
    chip: a `Chip`.
    axes: number of chips along each axis of the topology.
    flops: operations of all convolutions of a step on one chip.
    traffic: bytes that one chip reads from and writes to memory in a step.
    collectives: {operation: (number of runs, bytes of all results)} of the
      communication in a step; the result of `hlo.collectives`.
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
