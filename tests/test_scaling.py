"""What a step costs on many chips: its communication, and estimates of time."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from cyclegan_jax import chips, hlo, parallel
from cyclegan_jax.errors import UserError

LOOP = """\
%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p.0: (s32[], f32[10])) -> (s32[], f32[10]) {
  %a = f32[10]{0} all-reduce(%g), channel_id=1, to_apply=%add
}

%outer (p.1: (s32[], f32[10])) -> (s32[], f32[10]) {
  %loop.0 = (s32[], f32[10]{0}) while(%t), condition=%c, body=%inner, \
backend_config={"known_trip_count":{"n":"3"},"x":"1"}
  %b = bf16[7]{0} all-gather(%h), dimensions={0}
}

%elsewhere (p.2: f32[4]) -> f32[4] {
  ROOT %e = f32[4]{0} all-reduce(%p.2), to_apply=%add
}

ENTRY %main {
  %loop.1 = (s32[], f32[10]{0}) while(%u), condition=%c, body=%outer, \
backend_config={"known_trip_count":{"n":"5"}}
  %loop.2 = (s32[], f32[10]{0}) while(%v), condition=%c, body=%inner
  %cases = f32[4]{0} conditional(%w, %x, %x), \
branch_computations={%elsewhere, %add}
  ROOT %f = f32[2]{0} all-reduce(%i), to_apply=%add
}
"""


def test_loops_count_times_their_length():
  assert hlo.collectives(LOOP) == {
    # 3 in each of 5, once in a loop of unknown length, and 2 outside.
    'all-reduce': (15 + 1 + 1 + 1, 16 * 40 + 4 * 4 + 2 * 4),
    'all-gather': (5, 5 * 14),
  }


def test_a_program_without_communication():
  assert hlo.collectives('') == {}
  assert hlo.collectives('ENTRY %main () -> f32[] {\n  %x = f32[] y()\n}') == {}


def test_communication_of_a_program_compiled_for_four_devices():
  mesh = parallel.make_mesh(4)

  @jax.jit
  @partial(
    jax.shard_map,
    mesh=mesh,
    in_specs=P(parallel.AXIS),
    out_specs=P(),
    check_vma=False,
  )
  def program(x):
    def body(x, _):
      return x + lax.pmean(2 * x, parallel.AXIS), None

    x, _ = lax.scan(body, x, length=3)
    return lax.pmean(x, parallel.AXIS), lax.all_gather(x, parallel.AXIS)

  compiled = program.lower(jnp.ones((8, 5))).compile()
  # Of each device's [2, 5] in float32, reduced in the loop and once more.
  assert hlo.collectives(compiled.as_text()) == {
    'all-reduce': (4, 4 * 40),
    'all-gather': (1, 4 * 40),
  }


@pytest.mark.parametrize(
  'topology, gigabytes',
  [
    ('v5e:4x4', 2 * 50),  # no axis of 16: both are open
    ('v5e:8x16', 50 + 2 * 50),
    ('v5e:16x16', 4 * 50),
    ('v6e:1x8', 100),
    ('v4:2x2x1', 2 * 45),
    ('v4:2x2x4', 3 * 45),  # no whole cube: the axis of 4 is open too
    ('v4:4x4x4', 6 * 45),
    ('v5p:4x4x8', 6 * 100),
  ],
)
def test_what_the_links_of_a_chip_carry(topology, gigabytes):
  speed = chips.link_speed(chips.find(topology), chips.axes(topology))
  assert speed == gigabytes * 1e9


def test_an_estimate_computed_by_hand():
  estimate = chips.estimate(
    chips.find('v5e:4x4'),
    (4, 4),
    flops=197e9 * 3,
    traffic=819e6 * 5,
    collectives={'all-reduce': (2, 160e6), 'all-gather': (1, 16e6)},
  )
  assert estimate.compute == pytest.approx(3e-3)
  assert estimate.memory == pytest.approx(5e-3)
  # 15 of 16 parts, in and out for the all-reduce, over two open axes.
  assert estimate.links == pytest.approx((2 * 150e6 + 15e6) / 100e9)
  assert estimate.step == pytest.approx(5e-3 + 3.15e-3)


def test_one_chip_needs_no_links():
  estimate = chips.estimate(
    chips.find('v4:1x1x1'), (1, 1, 1), 275e12, 0, {'all-reduce': (1, 8)}
  )
  assert estimate == (1, 0, 0)


@pytest.mark.parametrize('topology', ['v9:2x2', '', 'tpu'])
def test_an_unknown_chip(topology):
  with pytest.raises(UserError, match='--topology.*v4, v5e, v5p, v6e'):
    chips.find(topology)
