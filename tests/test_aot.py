"""Tests of `aot`: its figures, and the compiled step for TPUs."""

import importlib.util
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import tiny
from jax import lax

from cyclegan_jax import aot
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.defaults import get_config
from cyclegan_jax.tpu import compiled_step, expected, hlo
from cyclegan_jax.training import parallel

HLO = """\
%fused (param_0: bf16[1,8,8,4], param_1: bf16[3,3,4,4]) -> bf16[1,8,8,4] {
  %param_0 = bf16[1,8,8,4]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = bf16[3,3,4,4]{3,2,1,0} parameter(1)
  ROOT %conv.1 = bf16[1,8,8,4]{3,2,1,0} convolution(%param_0, %param_1), \
window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}

ENTRY %main {
  %x = f32[1,8,8,4]{3,2,1,0} parameter(0)
  %k = bf16[3,3,4,4]{3,2,1,0} parameter(1)
  %conv.2 = f32[1,8,8,4]{3,2,1,0} convolution(%x, %k), window={size=3x3}
  %conv.3 = f32[1,8,8,4]{3,2,1,0} convolution(f32[1,8,8,4]{3,2,1,0:T(8,128)} \
%x, f32[1,8,8,4]{3,2,1,0:T(8,128)} %conv.2), window={size=3x3}
  %sum = (f32[8]{0:T(128)}, bf16[2,4]{1,0}) all-reduce(%a, %b), channel_id=1, \
metadata={op_name="jit(step)/all_reduce"}
  %start = f32[] all-reduce-start(%c), channel_id=2
  %done = f32[] all-reduce-done(%start)
  %pair = (f32[1,8]{1,0:T(8,128)S(1)}, f32[4,8]{1,0}) all-gather-start(%d), \
channel_id=3
  %gathered = f32[4,8]{1,0} all-gather-done(%pair)
  %stage.1 = f32[8]{0} all-gather(%e), frontend_attributes={chain_id="0"}
  %stage.2 = f32[8]{0} all-gather(%e), frontend_attributes={chain_id="0"}
  ROOT %stage.3 = f32[8]{0} all-gather(%e), frontend_attributes={chain_id="1"}
}
"""


def test_collectives_are_counted_with_their_output_bytes():
  assert hlo.collectives(HLO) == {
    'all-reduce': (2, 8 * 4 + 8 * 2 + 4),
    'all-gather': (3, 4 * 8 * 4 + 2 * 8 * 4),
  }


def test_convolutions_are_counted_by_operand_types():
  expected = {'bf16': 1, 'bf16 x f32': 1, 'f32': 1}
  assert hlo.convolutions(HLO) == expected


NET = 'jit(step)/jvp(ResnetGenerator)/ResnetGenerator.layers'
BACK = NET.replace('jvp(ResnetGenerator)', 'transpose(jvp(ResnetGenerator))')
# Cycles and metadata as the compiler writes them: for a loop of 9, for a fusion
# without its own name, and for operations that JAX or the compiler adds.
EXPECTED = f"""\
%convolved (a.0: f32[8]) -> f32[8] {{
  %a.0 = f32[8]{{0}} parameter(0)
  ROOT %a.1 = f32[8]{{0}} convolution(%a.0, %a.0), window={{size=1}}
}}

%unnamed (b.0: f32[8]) -> f32[8] {{
  %b.0 = f32[8]{{0}} parameter(0)
  %b.1 = f32[8]{{0}} slice(%b.0), \
metadata={{op_name="{BACK}/Net.conv/last/mul"}}
  ROOT %b.2 = f32[8]{{0}} copy(%b.1)
}}

%body (c.0: f32[8]) -> f32[8] {{
  %c.1 = f32[8]{{0}} fusion(%c.0), kind=kOutput, calls=%convolved, \
metadata={{op_name="{NET}/while/body/closed_call/checkpoint/Block/Net.block/\
Block.conv/conv_1/conv_general_dilated"}}, \
backend_config={{"estimated_cycles":"100"}}
  %c.2 = f32[8]{{0}} copy(%c.1), backend_config={{"estimated_cycles":"7"}}
}}

ENTRY %main {{
  %d.1 = f32[8]{{0}} while(%x), condition=%c, body=%body, \
backend_config={{"known_trip_count":{{"n":"9"}}}}
  %d.2 = f32[8]{{0}} fusion(%x), kind=kLoop, calls=%unnamed, \
backend_config={{"estimated_cycles":"50"}}
  %d.3 = f32[8]{{0}} fusion(%x), kind=kOutput, calls=%convolved, \
metadata={{op_name="{NET}/Net.conv/last/conv_general_dilated"}}, \
backend_config={{"estimated_cycles":"30"}}
  %d.4 = f32[8]{{0}} add(%x, %x), metadata={{op_name="{NET}/while/body/add"}}, \
backend_config={{"estimated_cycles":"5"}}
  %d.5 = f32[8]{{0}} add(%x, %x), metadata={{op_name="jit(step)/reverse.3"}}, \
backend_config={{"estimated_cycles":"2"}}
  ROOT %d.6 = f32[8]{{0}} add(%x, %x), metadata={{op_name="jit(step)/add"}}
}}
"""


def test_expected_cycles_are_summed_by_layer():
  layers = expected.by_layer(EXPECTED)
  assert list(layers.items()) == [
    ('ResnetGenerator/Block/conv_1 forward', (900, 900)),
    ('[copy]', (63, 0)),
    ('ResnetGenerator/last backward', (50, 0)),
    ('ResnetGenerator/last forward', (30, 30)),
    ('ResnetGenerator forward', (5, 0)),
    ('[reverse]', (2, 0)),
  ]
  assert hlo.cycles(EXPECTED) == (1050, 930)


def test_the_table_lists_the_expected_time_of_layers():
  lines = expected.table(EXPECTED, 1e5, rows=2)
  assert [line.split() for line in lines] == [
    ['expected', 'time', 'ms', 'share', 'convolutions'],
    ['ResnetGenerator/Block/conv_1', 'forward', '9.00', '85.7%', '9.00'],
    ['[copy]', '0.63', '6.0%', '0.00'],
    ['other', '0.87', '8.3%', '0.30'],
  ]
  assert len({len(line) for line in lines}) == 1
  everything = expected.table(EXPECTED, 1e5, rows=99)
  assert everything[-1].split() == ['other', '0.00', '0.0%', '0.00']


def test_flops_include_convolutions_in_loops_and_with_dilation():
  def conv(x, kernel, **options):
    return lax.conv_general_dilated(
      x, kernel, dimension_numbers=('NHWC', 'HWIO', 'NHWC'), **options
    )

  def run(x, kernel):
    x, _ = lax.scan(
      lambda x, _: (
        conv(x, kernel, window_strides=(1, 1), padding='SAME'),
        None,
      ),
      x,
      length=3,
    )
    padding = ((1, 2), (1, 2))
    return conv(
      x, kernel, window_strides=(1, 1), padding=padding, lhs_dilation=(2, 2)
    )

  jaxpr = jax.make_jaxpr(run)(jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 4)))
  once = 2 * (2 * 8 * 8 * 4) * (3 * 3 * 4)
  # In a transposed one, each input pixel also meets the whole kernel.
  assert compiled_step.convolution_flops(jaxpr) == (3 + 1) * once


# Small enough to trace in a second.
SMALL = {
  'data.load_size': 36,
  'data.crop_size': 32,
  'generator.name': 'resnet',
  'generator.depth': 2,
  'generator.width': 8,
  'discriminator.depth': 1,
  'discriminator.width': 8,
  'pool_size': 3,
}


def small_config(**overrides):
  config = get_config()
  config.update_from_flattened_dict(SMALL | overrides)
  return config


def lowered(dtype, **overrides):
  """Returns the StableHLO of a training step on 4 TPU chips."""
  mesh = parallel.make_mesh(4)
  traced = aot.trace(small_config(dtype=dtype, **overrides), mesh, 4)
  return traced.lower(lowering_platforms=('tpu',)).as_text()


def test_the_bfloat16_step_has_only_bfloat16_convolutions():
  lines = re.findall(r'stablehlo\.convolution\(.*', lowered('bfloat16'))
  # Forward passes, and gradients with respect to inputs and kernels.
  assert len(lines) > 30
  for line in lines:
    operands = line.rpartition(' : ')[2].partition(' -> ')[0]
    assert operands.count('xbf16>') == 2, line


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_no_activation_is_transposed(dtype):
  text = lowered(dtype, **{'data.load_size': 72, 'data.crop_size': 64})
  found = [
    tuple(map(int, shape.split('x')[:-1]))
    for shape in re.findall(r'stablehlo\.transpose .*: \(tensor<(.*?)>', text)
  ]
  # Kernels are transposed; the largest is the first layer's, packed to 12 -> 32
  # channels. Images of three channels are transposed to pack and unpack them.
  kernel = 5 * 5 * 12 * 32
  large = [shape for shape in found if math.prod(shape) > kernel]
  assert large and all(shape[-1] == 3 for shape in large), large


def run(argv, capsys):
  code = program.run(
    aot.main, ['aot', f'--config={tiny.CONFIGS}/maps.py', *argv]
  )
  out, err = capsys.readouterr()
  return code, out, err


def assert_one_line(code, err, *words):
  assert code == 2
  assert err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def test_help_lists_the_flags(capsys):
  with pytest.raises(SystemExit):
    program.run(aot.main, ['aot', '--help'])
  out = capsys.readouterr().out
  for word in (
    '--topology=NAME',
    "('v5e:4x4')",
    '--batch=N',
    '--top=N',
    '--config.seed',
  ):
    assert word in out
  assert '--workdir' not in out


def test_missing_libtpu_is_one_line_with_the_install_command(
  monkeypatch, capsys
):
  monkeypatch.delenv('TPU_LIBRARY_PATH', raising=False)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  code, _, err = run([], capsys)
  assert_one_line(code, err, "pip install 'cyclegan_jax[tpu]'")


@pytest.mark.parametrize('topology', ['v9:2x2', '', 'tpu'])
def test_an_unknown_topology_lists_the_known_chips(topology, capsys):
  code, _, err = run([f'--topology={topology}'], capsys)
  assert_one_line(code, err, '--topology', 'v4, v5e, v5p, v6e')


@pytest.mark.parametrize(
  'message, words',
  [
    ('INVALID_ARGUMENT: no such\nshape', ['--topology=v5e:3x3', 'v5e:4x4']),
    ('ABORTED: multi-process lockfile', ['libtpu_lockfile', 'remove']),
  ],
)
def test_an_error_of_libtpu_is_one_line(message, words, monkeypatch, capsys):
  def refuse(*args):
    raise RuntimeError(message)

  monkeypatch.setenv('TPU_LIBRARY_PATH', 'libtpu.so')
  monkeypatch.setattr(compiled_step.topologies, 'get_topology_desc', refuse)
  code, _, err = run(['--topology=v5e:3x3'], capsys)
  assert_one_line(code, err, *words)


@pytest.mark.parametrize('batch', [6, -4])
def test_a_batch_that_is_not_divisible_by_the_chips_is_refused(batch):
  with pytest.raises(UserError, match=f'--batch={batch} .* 4 chips'):
    aot.trace(small_config(), parallel.make_mesh(4), batch)


def test_a_batch_that_accumulation_cannot_divide_is_refused():
  config = small_config(**{'train.accumulate': 2})
  with pytest.raises(UserError, match='--batch=4 .* train.accumulate=2.* 8'):
    aot.trace(config, parallel.make_mesh(4), 4)


def test_option_values_are_checked():
  config = small_config(**{'generator.width': 0})
  with pytest.raises(UserError, match='generator.width=0'):
    aot.trace(config, parallel.make_mesh(4), 4)


def test_a_flag_that_is_not_a_number_is_one_line(capsys):
  code, _, err = run(['--batch=many'], capsys)
  assert_one_line(code, err, 'batch', 'many')


def test_an_invalid_top_flag_is_one_line(capsys):
  code, _, err = run(['--top=-1'], capsys)
  assert_one_line(code, err, '--top=-1 must be at least 0')
  code, _, err = run(['--top=3', '--topology=v6e:2x2'], capsys)
  assert_one_line(code, err, '--top=3', 'clock', '--topology=v6e:2x2')


def test_a_step_too_large_for_the_chip_is_refused():
  class Traced:
    def lower(self):
      return self

    def compile(self):
      raise jax.errors.JaxRuntimeError(
        'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.5G '
        'of 15.75G hbm.'
      )

  with pytest.raises(UserError, match='Used 20.5G of 15.75G hbm.*--batch'):
    compiled_step.compile_traced(Traced())


def test_the_real_compiler_compiles_a_step():
  pytest.importorskip('libtpu')
  card = tiny.CONFIGS / 'maps.py'
  overrides = SMALL | {'dtype': 'bfloat16'}
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      'cyclegan_jax.aot',
      f'--config={card}',
      '--topology=v5e:2x2',
      '--batch=4',
      '--top=5',
      *(f'--config.{key}={value}' for key, value in overrides.items()),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert 'the step fits the chip' in lines
  # At most one all-reduce per update of the optimizers.
  (reduced,) = [line.split() for line in lines if line.startswith('all-reduce')]
  assert reduced[1] in ('1,', '2,')
  dtypes = [line for line in lines if line.startswith('convolutions of')]
  times = [line.split() for line in lines if line.endswith(' ms')]
  by_name = {' '.join(words[:-2]): float(words[-2]) for words in times}
  assert by_name['a step takes at least'] <= by_name['compiler estimate']
  assert 0 < by_name['in convolutions'] < by_name['compiler estimate']
  assert dtypes and all('f32' not in line for line in dtypes)
  start = next(i for i, x in enumerate(lines) if x.startswith('expected time'))
  *rows, other = [line.split() for line in lines[start + 1 : start + 7]]
  assert len(rows) == 5 and other[0] == 'other'
  assert any(row[0].startswith('ResnetGenerator') for row in rows)
  shares = [float(row[-2].rstrip('%')) for row in (*rows, other)]
  assert sum(shares) == pytest.approx(100, abs=0.4)
