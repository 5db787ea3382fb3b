"""Count of the bytes that a step moves between a chip and its memory."""

import re

from cyclegan_jax.tpu import hlo

# Operations without traffic of their own: they only name existing data, call
# other computations, end an asynchronous operation, or communicate.
_FREE = re.compile(
  'parameter|constant|tuple|get-tuple-element|bitcast|while|conditional|call|'
  'iota|.*-done|.*-update|all-.*|reduce-scatter.*|collective-.*'
)
# Targets of custom-calls without traffic of their own.
_FREE_CALL = re.compile('"(ConcatBitcast|AllocateBuffer|AsyncCollective.*)"')
_CUTS = {'slice', 'dynamic-slice'}
_PASTE = 'dynamic-update-slice'


def count(text):
  """Returns the bytes that a step reads from and writes to a chip's memory.

  Arrays that the compiler keeps on the chip do not count. If only a slice of an
  array is read or updated, only the slice counts. Communication between chips
  does not count. The body of a loop counts once per iteration. The compiler's
  own statistics differ: they count whole arrays, and each loop only once.

  Args:
    text: the optimised HLO of the step, `compiled.as_text()`.
  """
  computations = hlo.parse(text)
  shapes = {i.name: i.shape for body in computations.values() for i in body}
  total = 0
  for name, (times, caller) in hlo.runs(computations).items():
    if caller in ('entry', 'while', 'conditional', 'call'):
      for instruction in computations[name]:
        total += times * _moved(instruction, shapes, computations)
  return total


def _moved(instruction, shapes, computations):
  """Returns the bytes of memory traffic of one run of an instruction."""
  if _is_free(instruction):
    return 0
  if instruction.operation.endswith('-start'):
    # The shape holds source, destination and a flag. If the copy takes a slice,
    # one of the two is smaller.
    ends = hlo.arrays(instruction.shape)[:2]
    least = min((size for size, _ in ends), default=0)
    return least * sum(outside for _, outside in ends)
  inside, names = _inside(instruction, computations)
  read = sum(
    _read(name, shapes.get(operand, ''), inside, computations)
    for name, operand in zip(names, instruction.operands)
  )
  return read + _written(instruction.shape, inside, shapes)


def _inside(instruction, computations):
  """Returns (the fused instructions, names of the operands among these).

  An instruction that is not a fusion is returned as a list of itself.
  """
  called = re.search(r'calls=%([\w.-]+)', instruction.rest)
  inside = computations.get(called[1]) if called else None
  if not inside:
    return [instruction], instruction.operands
  given = {
    int(i.rest.split(')')[0]): i.name
    for i in inside
    if i.operation == 'parameter'
  }
  return inside, [given.get(n) for n in range(len(instruction.operands))]


def _is_free(instruction):
  return bool(
    _FREE.fullmatch(instruction.operation)
    or _FREE_CALL.search(instruction.rest)
  )


def _passes(instruction):
  """Returns True if an instruction only passes its operands on.

  Examples are the buffers of an unfinished communication.
  """
  return instruction.operation != 'bitcast' and _is_free(instruction)


def _outside(shape):
  """Returns the bytes of a shape that are in memory, not on the chip."""
  return sum(size for size, outside in hlo.arrays(shape) if outside)


def _size(shape):
  return sum(size for size, _ in hlo.arrays(shape))


def _read(name, shape, inside, computations):
  """Returns the bytes that a computation reads of one operand.

  Args:
    name: name of the operand inside the computation.
    shape: shape of the operand.
    inside: instructions of the computation.
    computations: all computations; see `hlo.parse`.
  """
  whole, parts = _outside(shape), 0
  for user in inside if whole else ():
    if name not in user.operands or _passes(user):
      continue
    if user.operation in _CUTS:
      parts += _size(user.shape)
    elif user.operation == 'fusion' and len(inside) > 1:
      within, names = _inside(user, computations)
      for operand, called in zip(user.operands, names):
        if operand == name:
          parts += _read(called, shape, within, computations)
    elif user.operation != _PASTE or user.operands[0] != name:
      return whole
  return min(whole, parts)


def _written(shape, inside, shapes):
  """Returns the bytes that a computation writes to memory as its results.

  Args:
    shape: shape of the results.
    inside: instructions of the computation.
    shapes: {name of an instruction: its shape}.
  """
  by_name = {i.name: i for i in inside}
  roots = [next((i for i in inside if i.root), inside[-1])]
  if roots[0].operation == 'tuple':
    roots = [by_name.get(name) for name in roots[0].operands]
  total = 0
  for (size, outside), root in zip(hlo.arrays(shape), roots):
    while root and root.operation == 'bitcast':
      root = by_name.get(root.operands[0])
    if root and _is_free(root):
      continue
    if root and root.operation == _PASTE:
      size = min(size, _size(shapes.get(root.operands[1], '')))
    total += size * outside
  return total
