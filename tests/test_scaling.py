"""Tests of the cost of a step on many chips: communication and time."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.tpu import chips, hbm_traffic, hlo
from cyclegan_jax.training import parallel

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


def test_collectives_in_loops_count_once_per_iteration():
  assert hlo.collectives(LOOP) == {
    # 3 in each of 5 iterations, 1 in a loop of unknown length, 2 outside.
    'all-reduce': (15 + 1 + 1 + 1, 16 * 40 + 4 * 4 + 2 * 4),
    'all-gather': (5, 5 * 14),
  }


# Output of the TPU compiler: S(1) is memory on the chip, the length of a loop
# is in its condition, and each operation has its expected cycles.
TPU = """\
%convolved (q.0: bf16[8], q.1: bf16[2]) -> bf16[8] {
  %q.0 = bf16[8]{0:T(8,128)(2,1)} parameter(0)
  %q.1 = bf16[2]{0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %k = bf16[8]{0:T(8,128)(2,1)} convolution(%q.0, %q.1), window={size=1}
}

%cut (r.1: s32[], r.0: f32[4,100]) -> f32[100] {
  %r.1 = s32[] parameter(0)
  %r.0 = f32[4,100]{1,0} parameter(1)
  ROOT %s = f32[1,100]{1,0:S(1)} dynamic-slice(%r.0, %r.1), x={1,100}
}

%paste (t.0: f32[4,100], t.1: f32[1,100]) -> (f32[4,100], f32[4]) {
  %t.0 = f32[4,100]{1,0} parameter(0)
  %t.1 = f32[1,100]{1,0:S(1)} parameter(1)
  %u = f32[4,100]{1,0} dynamic-update-slice(%t.0, %t.1, %z), metadata={a="b"}
  %bit = f32[4,100]{1,0} bitcast(%u)
  %v = f32[4]{0:S(1)} reduce(%t.1, %z)
  ROOT %w = (f32[4,100]{1,0}, f32[4]{0:S(1)}) tuple(%bit, %v)
}

%more (c.0: (s32[], f32[4,100])) -> pred[] {
  %c.0 = (s32[]{:T(128)}, f32[4,100]{1,0}) parameter(0)
  %c.1 = s32[]{:T(128)} constant(4), metadata={op_name="x"}
  ROOT %c.2 = pred[]{:T(512)} compare(%i, %c.1), direction=LT
}

%each (d.0: (s32[], f32[4,100])) -> (s32[], f32[4,100]) {
  %d.0 = (s32[]{:T(128)}, f32[4,100]{1,0}) parameter(0)
  %d.1 = f32[4,100]{1,0} get-tuple-element(%d.0), index=1
  %d.2 = f32[1,100]{1,0:S(1)} fusion(%d.3, %d.1), kind=kLoop, calls=%cut, \
backend_config={"window_config":{"estimated_cycles":"7","x":["1"]}}
  ROOT %d.4 = (f32[4,100]{1,0}, f32[4]{0:S(1)}) fusion(%d.1, %d.2), \
kind=kLoop, calls=%paste, backend_config={"estimated_cycles":"10"}
}

ENTRY %main (e.0: bf16[8], e.1: f32[4,100]) -> bf16[8] {
  %e.0 = bf16[8]{0:T(8,128)(2,1)} parameter(0)
  %e.1 = f32[4,100]{1,0} parameter(1)
  %e.2 = (f32[6]{0:S(1)}, f32[6]{0}, u32[]{:S(2)}) copy-start(%e.9)
  %e.3 = f32[6]{0:S(1)} copy-done(%e.2)
  %e.4 = (s32[]{:T(128)}, f32[4,100]{1,0}) while(%t), condition=%more, \
body=%each
  %e.5 = bf16[2]{0:T(8,128)(2,1)S(1)} negate(%e.6)
  ROOT %e.7 = bf16[8]{0:T(8,128)(2,1)} fusion(%e.0, %e.5), kind=kOutput, \
calls=%convolved, backend_config={"estimated_cycles":"1000"}
}
"""


def test_expected_cycles_are_read():
  assert hlo.cycles(TPU) == (4 * (7 + 10) + 1000, 1000)


def test_memory_traffic_excludes_memory_on_the_chip():
  copied, convolved = 6 * 4, 8 * 2 + 8 * 2
  # Each of the 4 iterations cuts out a row and pastes one in.
  assert hbm_traffic.count(TPU) == copied + convolved + 4 * (400 + 400)


# An unfinished gather is passed through a concurrent operation, whose inner
# operation cuts a row out of an array.
UNDER_WAY = """\
%row (a.0: f32[9,100], a.1: s32[]) -> f32[1,100] {
  %a.0 = f32[9,100]{1,0} parameter(0)
  %a.1 = s32[] parameter(1)
  ROOT %a.2 = f32[1,100]{1,0} dynamic-slice(%a.0, %a.1), x={1,100}
}

%stage (b.0: f32[9,100], b.1: f32[5000], b.2: s32[]) -> (f32[1,100]) {
  %b.0 = f32[9,100]{1,0} parameter(0)
  %b.1 = f32[5000]{0} parameter(1)
  %b.2 = s32[] parameter(2)
  %b.3 = f32[1,100]{1,0} fusion(%b.0, %b.2), kind=kLoop, calls=%row
  %b.4 = f32[5000]{0} all-gather(%b.1), frontend_attributes={chain_id="0"}
  ROOT %b.5 = (f32[1,100]{1,0}, f32[5000]{0}) tuple(%b.3, %b.1)
}

ENTRY %main {
  %m.0 = f32[9,100]{1,0} parameter(0)
  %m.1 = f32[5000]{0} custom-call(), custom_call_target="AllocateBuffer"
  %m.2 = s32[]{:S(6)} parameter(1)
  ROOT %m.3 = (f32[1,100]{1,0}, f32[5000]{0}) fusion(%m.0, %m.1, %m.2), \
kind=kLoop, calls=%stage
}
"""


def test_unfinished_communication_is_not_memory_traffic():
  assert hbm_traffic.count(UNDER_WAY) == 400 + 400  # a row is read and written
  assert hlo.collectives(UNDER_WAY) == {'all-gather': (1, 4 * 5000)}


def test_an_array_that_is_cut_and_read_whole_counts_whole():
  text = TPU.replace(
    '%v = f32[4]{0:S(1)} reduce(%t.1', '%v = f32[4] reduce(%t.0'
  )
  extra = 4 * 1600  # in each iteration
  assert hbm_traffic.count(text) == hbm_traffic.count(TPU) + extra


def test_a_program_without_communication_has_no_collectives():
  assert hlo.collectives('') == {}
  assert hlo.collectives('ENTRY %main () -> f32[] {\n  %x = f32[] y()\n}') == {}


def test_collectives_of_a_compiled_program_are_counted():
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
  # Each device's float32 [2, 5] is reduced in the loop and once after it.
  assert hlo.collectives(compiled.as_text()) == {
    'all-reduce': (4, 4 * 40),
    'all-gather': (1, 4 * 40),
  }


@pytest.mark.parametrize(
  'topology, gigabytes',
  [
    ('v5e:4x4', 2 * 50),  # no axis of 16 chips: both are open
    ('v5e:8x16', 50 + 2 * 50),
    ('v5e:16x16', 4 * 50),
    ('v6e:1x8', 100),
    ('v4:2x2x1', 2 * 45),
    ('v4:2x2x4', 3 * 45),  # no full cube: the axis of 4 is open, too
    ('v4:4x4x4', 6 * 45),
    ('v5p:4x4x8', 6 * 100),
  ],
)
def test_link_speeds_of_a_chip_are_known(topology, gigabytes):
  speed = chips.link_speed(chips.find(topology), chips.axes(topology))
  assert speed == gigabytes * 1e9


def test_an_estimate_equals_a_count_by_hand():
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
def test_an_unknown_topology_lists_the_known_chips(topology):
  with pytest.raises(UserError, match='--topology.*v4, v5e, v5p, v6e'):
    chips.find(topology)
