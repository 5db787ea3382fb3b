"""Names of options, 'section.key', of configs that are nested dicts."""


def flatten(config, prefix=''):
  """Returns {'section.key': value} for all values of a nested dict.

  Args:
    config: nested dicts with string keys.
    prefix: text before each name, used by the recursion.
  """
  options = {}
  for key, value in config.items():
    nested = isinstance(value, dict)
    options |= (
      flatten(value, f'{prefix}{key}.') if nested else {prefix + key: value}
    )
  return options
