"""The time that the TPU compiler expects of a step, layer by layer."""

import collections
import re

from cyclegan_jax.tpu import hlo

# Parts of an operation's name that no layer is called.
_CONTROL = re.compile(
  r'while|cond|body|closed_call|checkpoint|remat\w*|branch.*'
)
_OTHER = 'other'
_OP_NAME = re.compile(r'op_name="([^"]*)"')


def by_layer(text):
  """Expected cycles of each layer, in the forward and in the backward pass.

  Args:
    text: `compiled.as_text()`.

  Returns:
    {name of `layer_of`: (cycles, those of operations with convolutions)},
    loops times their length, the longest first.
  """
  found = collections.defaultdict(lambda: (0, 0))
  for instruction, cycles, fused in hlo.estimates(text):
    name = layer_of(instruction, fused)
    total, of_convolutions = found[name]
    of_convolutions += cycles * hlo.convolves(fused)
    found[name] = (total + cycles, of_convolutions)
  return dict(sorted(found.items(), key=lambda row: -row[1][0]))


def layer_of(instruction, fused=()):
  """The layer that an instruction belongs to, by the name JAX gave it.

  Args:
    instruction: an `hlo.Instruction`.
    fused: the instructions that are fused in it; if it has no name, theirs
      counts.

  Returns:
    Such as 'ResnetGenerator/down_1 forward'. Of what belongs to no network, the
    operation in brackets: that of JAX, '[add]', or, where the compiler made the
    instruction by itself, that of HLO, '[copy]'.
  """
  named = (_OP_NAME.search(i.rest) for i in (instruction, *reversed(fused)))
  path = next((match[1] for match in named if match), instruction.operation)
  modules = _modules(path)
  if not modules:
    return f'[{path.rpartition("/")[2].split(".")[0]}]'
  backward = 'transpose(' in path
  return f'{"/".join(modules)} {"backward" if backward else "forward"}'


def _modules(path):
  """Network, modules in it, and layer, of an operation's name."""
  modules, before = [], ''
  for scope in path.split('/')[:-1]:
    name = re.sub(r'^(?:\w+\()*([\w.]*)\)*$', r'\1', scope)  # jvp(Net): Net
    is_module = re.fullmatch(r'[A-Z]\w*', name)
    # Behind the method that makes it: `Net.conv/down_1`.
    is_layer = '.' in before and re.fullmatch(r'[a-z]\w*', scope)
    if is_module or (is_layer and not _CONTROL.fullmatch(scope)):
      modules += [name] if modules[-1:] != [name] else []
    before = name
  return modules


def table(text, clock, rows):
  """Lines of a table of the layers that a step spends most time in.

  Args:
    text: `compiled.as_text()`.
    clock: cycles a second.
    rows: number of layers; the rest is summed up in a row of its own.

  Returns:
    A header, and a line per row: layer, milliseconds a step, share of all
    operations, and milliseconds of the operations with convolutions in them.
  """
  layers = by_layer(text)
  total = sum(cycles for cycles, _ in layers.values())
  shown = list(layers.items())[:rows]
  rest = list(layers.values())[rows:]
  shown.append((_OTHER, tuple(sum(x) for x in zip((0, 0), *rest))))
  width = max(len(name) for name, _ in shown) + 2
  lines = [
    f'{"expected time":<{width}}{"ms":>8}{"share":>8}{"convolutions":>14}'
  ]
  for name, (cycles, of_convolutions) in shown:
    lines.append(
      f'{name:<{width}}{cycles / clock * 1e3:>8.2f}'
      f'{cycles / max(total, 1):>8.1%}{of_convolutions / clock * 1e3:>14.2f}'
    )
  return lines
