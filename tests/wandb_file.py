"""Reads the .wandb files of offline runs, which contain protocol buffers."""

import json
import struct

_BLOCK, _HEAD = 32768, 7  # bytes of LevelDB's log format


def records(path):
  """Yields the records of a file up to its end, or up to a truncated record.

  A record consists of one or several pieces, none of which crosses the end of a
  block. The first seven bytes of the file are not a record.
  """
  from wandb.proto import wandb_internal_pb2

  data, at, parts = path.read_bytes(), 7, []
  while at + _HEAD <= len(data):
    if _BLOCK - at % _BLOCK < _HEAD:
      at += _BLOCK - at % _BLOCK
      continue
    _, length, kind = struct.unpack_from('<IHB', data, at)
    piece = data[at + _HEAD : at + _HEAD + length]
    if len(piece) < length:
      return
    parts.append(piece)
    at += _HEAD + length
    if kind in (1, 4):  # a complete record, or its last piece
      yield wandb_internal_pb2.Record.FromString(b''.join(parts))
      parts = []


def runs(workdir):
  """Returns a list of lists: the records of each session of a run."""
  paths = sorted(workdir.glob('wandb/offline-run-*/*.wandb'))
  return [list(records(path)) for path in paths]


def history(workdir):
  """Returns [(step, {name: value})] in the order of logging."""
  found = []
  for record in sum(runs(workdir), []):
    if record.WhichOneof('record_type') == 'history':
      row = {
        item.key or '.'.join(item.nested_key): json.loads(item.value_json)
        for item in record.history.item
      }
      found.append((record.history.step.num, row))
  return found


def config(workdir):
  """Returns {option: value} of the newest session, and the set of run ids."""
  options, ids = {}, set()
  for record in sum(runs(workdir), []):
    kind = record.WhichOneof('record_type')
    if kind == 'run':
      ids.add(record.run.run_id)
    updates = {'run': record.run.config, 'config': record.config}.get(kind)
    for item in updates.update if updates else ():
      options[item.key or '.'.join(item.nested_key)] = json.loads(
        item.value_json
      )
  return options, ids
