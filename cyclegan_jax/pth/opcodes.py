"""Reads the pickle a PyTorch file starts with, by a machine that calls nothing.

A pickle is a program, and Python's own machine for it calls what the program
names. This one knows the few instructions that a state_dict is made of, and
stand-ins for the few names in it. Everything else is refused by its name. No
name is ever looked up, so there is nothing that a file could reach.
"""

import pickletools
import types

import numpy as np

from cyclegan_jax.pth.tensors import STORAGES, Storage, Tensor, check

# Of one pickle; a generator of 9 blocks takes 2000. More would take minutes.
_INSTRUCTIONS = 1_000_000


class Refused(ValueError):
  """The file asks for something that no state_dict needs; a whole sentence."""


def load(stream, storages):
  """The object that is pickled next in a stream.

  Args:
    stream: a binary file of which no more than the pickle is read.
    storages: {key: `Storage`}, to which those met are added.

  Returns:
    Dicts, lists, tuples, text, numbers, and a `Tensor` for each tensor.

  Raises:
    Refused: an instruction or a name that a state_dict has no use for.
    Exception: of almost any kind, where the pickle is damaged.
  """
  return run(stream, Machine(_NAMES, storages), ACTIONS)


def run(stream, machine, actions):
  """What a pickle leaves on the stack of a machine.

  Args:
    stream: a binary file of which no more than the pickle is read.
    machine: a `Machine`.
    actions: {instruction: (machine, argument) -> None}.

  Raises:
    As `load`.
  """
  for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
    if count > _INSTRUCTIONS:
      raise ValueError('a pickle too long for a state_dict')
    if opcode.name not in actions:
      what = opcode.name if argument is None else f'{opcode.name} {argument}'
      refuse(what)
    actions[opcode.name](machine, argument)
  return machine.stack.pop()


def refuse(what):
  """Raises `Refused` for a name out of the file."""
  name = ascii(str(what)[:80])[1:-1].replace(' ', '.')
  raise Refused(
    f'asks for {name}, and a state_dict holds tensors only: not loaded; if '
    'you trust the file, save the state_dict of its network anew'
  )


class Machine:
  """A stack of objects, those below a mark, and a memory.

  Args:
    names: {"module name": what stands in for it}; functions may be called.
    storages: {key: `Storage`}, to which those met are added.
  """

  def __init__(self, names, storages):
    self.names = names
    self.storages = storages
    self.stack = []
    self.below = []
    self.memory = {}

  def push(self, x):
    self.stack.append(x)

  def mark(self, _):
    self.below.append(self.stack)
    self.stack = []

  def pop_to_mark(self):
    items, self.stack = self.stack, self.below.pop()
    return items

  def tuple_of(self, count):
    if len(self.stack) < count:
      raise ValueError('a tuple of what is not there')
    self.stack[-count:] = [tuple(self.stack[-count:])]

  def append(self, items):
    if type(self.stack[-1]) is not list:
      raise ValueError('an item for what is no list')
    self.stack[-1].extend(items)

  def set_items(self, items):
    target, keys = self.stack[-1], items[::2]
    if type(target) is not dict or len(items) % 2:
      raise ValueError('an item for what is no dict')
    _check_keys(keys)
    target.update(zip(keys, items[1::2]))

  def pop(self, count):
    items = [self.stack.pop() for _ in range(count)]
    return items[::-1]

  def remember(self, place):
    self.memory[len(self.memory) if place is None else place] = self.stack[-1]

  def name(self, name):
    if name not in self.names:
      refuse(name)
    self.push(self.names[name])

  def name_on_stack(self):
    module, name = self.pop(2)
    if type(module) is not str or type(name) is not str:
      raise ValueError('a name that is no text')
    self.name(f'{module} {name}')

  def reduce(self):
    function, arguments = self.pop(2)
    if type(function) is not types.FunctionType or type(arguments) is not tuple:
      raise ValueError('a call of what is no function')
    self.push(function(*arguments))

  def build(self):
    # An OrderedDict's attributes; PyTorch adds one, the layers' versions.
    state = self.stack.pop()
    if type(self.stack[-1]) is not dict or type(state) is not dict:
      raise ValueError('attributes for what has none')
    for attribute in state:
      if attribute != '_metadata':
        refuse(f'the attribute {attribute}')

  def storage(self):
    match self.stack.pop():
      case ('storage', np.dtype() as dtype, str(key), str(), int(size)) | (
        'storage',
        np.dtype() as dtype,
        str(key),
        str(),
        int(size),
        None,
      ):
        storage = Storage(key, dtype, size)
      case _:
        raise ValueError('a reference to what is no storage')
    if self.storages.setdefault(key, storage) != storage:
      raise ValueError('a storage of two kinds')
    self.push(storage)


def _check_keys(keys):
  # Others, such as tuples in tuples, could take forever to hash.
  if not {type(key) for key in keys} <= {str, int}:
    raise ValueError('a key that is neither text nor a number')


def _ordered_dict(pairs=()):
  if not all(type(x) in (list, tuple) and len(x) == 2 for x in pairs):
    raise ValueError('an OrderedDict of what are no pairs')
  _check_keys([key for key, _ in pairs])
  result = dict(pairs)
  if pairs:
    pairs.clear()  # used twice, a long list would take forever
  return result


def _tensor(storage, offset, shape, strides, *_):
  tensor = Tensor(storage, offset, shape, strides)
  check(tensor)
  return tensor


def _parameter(tensor, *_):
  return tensor


def _size(numbers):
  return numbers


# Stand-ins for what the file names, as "module name".
_NAMES = {
  'collections OrderedDict': _ordered_dict,
  'torch Size': _size,
  'torch._utils _rebuild_tensor': _tensor,  # until 2017
  'torch._utils _rebuild_tensor_v2': _tensor,
  'torch._utils _rebuild_parameter': _parameter,
  'torch.nn.parameter Parameter': _parameter,
} | {
  f'{module} {name}': dtype
  for module in ('torch', 'torch.cuda')
  for name, dtype in STORAGES.items()
}

# Instruction -> (machine, argument) -> None.
ACTIONS = (
  dict.fromkeys(
    (
      *('BININT', 'BININT1', 'BININT2', 'LONG1', 'LONG4', 'BINFLOAT'),
      *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
      *('BINSTRING', 'SHORT_BINSTRING'),
    ),
    Machine.push,
  )
  | {
    'NONE': lambda machine, _: machine.push(None),
    'NEWTRUE': lambda machine, _: machine.push(True),
    'NEWFALSE': lambda machine, _: machine.push(False),
    'EMPTY_DICT': lambda machine, _: machine.push({}),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'EMPTY_TUPLE': lambda machine, _: machine.push(()),
    'TUPLE1': lambda machine, _: machine.tuple_of(1),
    'TUPLE2': lambda machine, _: machine.tuple_of(2),
    'TUPLE3': lambda machine, _: machine.tuple_of(3),
    'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    'APPEND': lambda machine, _: machine.append(machine.pop(1)),
    'APPENDS': lambda machine, _: machine.append(machine.pop_to_mark()),
    'SETITEM': lambda machine, _: machine.set_items(machine.pop(2)),
    'SETITEMS': lambda machine, _: machine.set_items(machine.pop_to_mark()),
    'BINGET': lambda machine, place: machine.push(machine.memory[place]),
    'LONG_BINGET': lambda machine, place: machine.push(machine.memory[place]),
    'GLOBAL': lambda machine, name: machine.name(name),
    'INST': lambda machine, name: refuse(name),
    'STACK_GLOBAL': lambda machine, _: machine.name_on_stack(),
    'REDUCE': lambda machine, _: machine.reduce(),
    'BUILD': lambda machine, _: machine.build(),
    'BINPERSID': lambda machine, _: machine.storage(),
  }
  | dict.fromkeys(('BINPUT', 'LONG_BINPUT', 'MEMOIZE'), Machine.remember)
  | {'MARK': Machine.mark}
  | dict.fromkeys(('PROTO', 'FRAME', 'STOP'), lambda machine, _: None)
)
