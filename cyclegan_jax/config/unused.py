"""Options that a config sets but does not use, found by the tables of names."""

from functools import partial

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.options import flatten
from cyclegan_jax.data import own_source, sources
from cyclegan_jax.defaults import DEFAULTS, OPTIONS
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.nets.layers import GAINS
from cyclegan_jax.training.optim import OPTIMIZERS

_NETWORKS = {
  'generator': nets.GENERATORS,
  'discriminator': nets.DISCRIMINATORS,
}


def check_used(config):
  """Raises `UserError` for an option that is not at its default and not used.

  Only for configs of new runs: earlier versions accepted unused options, so the
  config of a trained model may have some.

  Args:
    config: a ConfigDict.
  """
  options = flatten(config.to_dict())
  for key, reason in unused(options).items():
    default = DEFAULTS[key]
    if options[key] != default:
      raise UserError(
        f'{key}={options[key]!r} is not used by {reason}: leave it at '
        f'{default!r}'
      )


def unused(options):
  """Returns the options that have no effect in a config.

  A name that is in no table (such as an unknown method) counts as using every
  option; `build_method` and `build_optimizers` raise for it later.

  Args:
    options: {'section.key': value}, all options of a config.

  Returns:
    {option: reason}. The reason names the setting that does not use the option,
    and the settings that would.
  """
  found = {}
  for choosers in _choosers():
    chosen = {key: options[key] for key in choosers}
    if found.keys() & chosen.keys() or any(
      name not in choosers[key] for key, name in chosen.items()
    ):
      continue
    used = {x for key, name in chosen.items() for x in choosers[key][name]}
    for use, names in _users(choosers).items():
      key, has_value, value = use.partition('=')
      if use not in used and (not has_value or value == options[key]):
        found.setdefault(key, _reason(chosen, names))
  return found


def _choosers():
  """Returns the options whose values decide which other options are used.

  Returns:
    [{option: {possible value: uses}}]. `uses` is a list of used options; an
    entry 'option=value' means that only this value of the option is used. If a
    dict has several options, an entry is used as soon as the value of one of
    them uses it.
  """
  return [
    _uses('method', METHODS, lambda entry: entry.options),
    _uses('data.source', sources.SOURCES | own_source.FUNCTIONS, _of_source),
    *(
      _uses(f'{section}.name', table, partial(_of_network, section))
      for section, table in _NETWORKS.items()
    ),
    *map(_of_gain, _NETWORKS),
    _uses(
      'loss.adversarial_loss',
      ADVERSARIAL_LOSSES,
      lambda loss: ['loss.gradient_penalty'] * loss.penalized,
    ),
    _uses(
      'optim.name',
      OPTIMIZERS,
      lambda optimizer: [f'optim.{option}' for option in optimizer.options],
    ),
  ]


def _uses(key, table, uses):
  """Returns {key: {name: used options}} for every line of a table."""
  return {key: {name: uses(line) for name, line in table.items()}}


def _of_gain(section):
  """Returns which values of a network's options use its `init_gain`."""
  gain = f'{section}.init_gain'
  return {
    f'{section}.{key}': {name: [gain] * used for name, used in names.items()}
    for key, names in GAINS.items()
  }


def _of_source(source):
  """Returns the options that a source of pictures uses."""
  keys = [f'data.{name}' for name in own_source.options_of(source)]
  return [key for key in keys if key in OPTIONS]


def _of_network(section, make):
  """Returns the options of a section that a network uses."""
  fields = [f'{section}.{name}' for name in sorted(nets.fields(make))]
  remats = getattr(nets.network_class(make), 'remats', ())
  return [
    *(key for key in fields if key in OPTIONS),
    *(f'{section}.remat={name}' for name in remats),
  ]


def _users(choosers):
  """Returns {used option: the names that use it}."""
  users = {}
  for names in choosers.values():
    for name, uses in names.items():
      for use in uses:
        users.setdefault(use, []).append(name)
  return users


def _reason(chosen, names):
  """Returns the settings that do not use an option, and names that would."""
  by = ' and '.join(f'{key}={name!r}' for key, name in chosen.items())
  verb = 'use' if len(names) > 1 else 'uses'
  return f'{by} ({", ".join(names)} {verb} it)'
