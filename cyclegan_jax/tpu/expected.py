"""Time that the TPU compiler expects for each layer of a step."""

import collections
import re

from cyclegan_jax.tpu import hlo

# Parts of an operation's name that are control flow, not layers.
_CONTROL = re.compile(
  r'while|cond|body|closed_call|checkpoint|remat\w*|branch.*'
)
_OTHER = 'other'
_OP_NAME = re.compile(r'op_name="([^"]*)"')


def by_layer(text):
  """Returns the expected cycles of each layer, per forward and backward pass.

  Args:
    text: the optimised HLO of a step, `compiled.as_text()`.

  Returns:
    {layer name from `layer_of`: (cycles of all operations, cycles of operations
    with convolutions)}, sorted from most to fewest cycles. Operations in a loop
    count once per iteration.
  """
  found = collections.defaultdict(lambda: (0, 0))
  for instruction, cycles, fused in hlo.estimates(text):
    name = layer_of(instruction, fused)
    total, of_convolutions = found[name]
    of_convolutions += cycles * hlo.convolves(fused)
    found[name] = (total + cycles, of_convolutions)
  return dict(sorted(found.items(), key=lambda row: -row[1][0]))


def layer_of(instruction, fused=()):
  """Returns the name of the layer that an instruction belongs to.

  The layer is found in the operation name that JAX wrote into the HLO.

  Args:
    instruction: an `hlo.Instruction`.
    fused: the instructions fused into `instruction`; if the instruction has no
      operation name, the name of the last of these that has one is used.

  Returns:
    A name such as 'ResnetGenerator/down_1 forward'. If the instruction belongs
    to no network, its JAX operation in brackets, such as '[add]'; if the
    compiler added the instruction, its HLO operation, such as '[copy]'.
  """
  named = (_OP_NAME.search(i.rest) for i in (instruction, *reversed(fused)))
  path = next((match[1] for match in named if match), instruction.operation)
  modules = _modules(path)
  if not modules:
    return f'[{path.rpartition("/")[2].split(".")[0]}]'
  backward = 'transpose(' in path
  return f'{"/".join(modules)} {"backward" if backward else "forward"}'


def _modules(path):
  """Returns the network, modules and layer named in an operation's name."""
  modules, before = [], ''
  for scope in path.split('/')[:-1]:
    name = re.sub(r'^(?:\w+\()*([\w.]*)\)*$', r'\1', scope)  # jvp(Net): Net
    is_module = re.fullmatch(r'[A-Z]\w*', name)
    # A layer follows the method that made it: `Net.conv/down_1`.
    is_layer = '.' in before and re.fullmatch(r'[a-z]\w*', scope)
    if is_module or (is_layer and not _CONTROL.fullmatch(scope)):
      modules += [name] if modules[-1:] != [name] else []
    before = name
  return modules


def table(text, clock, rows):
  """Returns the lines of a table of the layers that take most of a step's time.

  Args:
    text: the optimised HLO of the step, `compiled.as_text()`.
    clock: clock of the chip in cycles per second.
    rows: number of layers to list; all other layers are summed up in one row.

  Returns:
    The header line, then one line per layer: name, milliseconds per step, share
    of the step's time, and milliseconds of operations with convolutions.
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
