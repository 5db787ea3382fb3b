"""The paper's experiments, each one command:

    python -m cyclegan_jax.experiments --suite=models \
      --config=configs/satellite2map.py --seeds=3 --workdir=runs/experiments

Trains what is missing, continues what was stopped, evaluates, and writes
tables.md, tables.csv and figures/ to the work folder; run again, it does what
is left. Suites: models (the paper's Tables 1 to 3), losses (Tables 4 and 5),
reconstruction (Figure 4), limits (Sec. 6), all. Exit codes: 0 done, 1 or 2 some
runs failed, 2 something given doesn't fit, 130 or 143 stopped by Ctrl-C or
SIGTERM (saved).
"""

import shlex
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.paper import runs

FLAGS = {
  'suite': ('NAME', '', 'models | losses | reconstruction | limits | all'),
  'seeds': ('N', 3, 'runs of each row, from the seed of the config on'),
  'workdir': ('DIR', '', 'folder of runs and tables; runs/experiments'),
  'jobs': (
    'N',
    1,
    'runs at a time, each on an accelerator or a share of cores',
  ),
  'metrics': (
    'NAMES',
    runs.DEFAULT_METRICS,
    'as cyclegan_jax.evaluate has them',
  ),
  'segmenter': (
    'PATH',
    '',
    'reads label maps for fcn; trained here if it can be',
  ),
  'palette': (
    'NAME',
    '',
    "cityscapes: label maps are read from the colours of B's test pictures",
  ),
  'inception': ('PATH', '', 'weights of Inception for fid and kid'),
  'num-processes': (
    'N',
    1,
    'machines that share the runs and the work folder, each with this command',
  ),
  'process-id': ('I', 0, 'and which this one is; 0 writes the tables'),
  'dry-run': ('', False, 'says the commands that are left, and runs none'),
}


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  flags.require(values, 'suite')
  for name in ('seeds', 'jobs', 'num-processes'):
    if values[name] < 1:
      raise UserError(f'--{name}={values[name]} must be at least 1')
  part = values['process-id'], values['num-processes']
  if not 0 <= part[0] < part[1]:
    raise UserError(
      f'--process-id={part[0]} must be from 0 to --num-processes={part[1]} '
      'less 1'
    )
  workdir = files.place(values['workdir'] or 'runs/experiments')
  program.quiet()
  from cyclegan_jax.config.run import check_values
  from cyclegan_jax.paper import suite_run
  from cyclegan_jax.training.workdir import open_workdir

  check_values(config)
  experiment = suite_run.experiment(config, given(argv), workdir, values)
  if values['dry-run']:
    for command in suite_run.commands(experiment, values['suite'], part):
      print(shlex.join(command))
    return 0
  if part[0]:  # the first keeps the folder, each run has a lock of its own
    return suite_run.help_out(
      experiment, values['suite'], values['jobs'], part, _say
    )
  with open_workdir(workdir):
    return suite_run.run(
      experiment, values['suite'], values['jobs'], argv, _say, part
    )


def _say(line):
  print(line, flush=True)  # at once, into a file too


def given(argv):
  """The --config and --config.KEY=VALUE of a command line, as they stand."""
  kept, takes = [], False
  for word in argv[1:]:
    name, equals, _ = word.lstrip('-').partition('=')
    is_flag = word.startswith('-') and (
      name.removeprefix('no').split('.')[0] == 'config'
    )
    if is_flag or (takes and not word.startswith('--')):
      kept.append(word)
    takes = is_flag and not equals
  return kept


if __name__ == '__main__':
  sys.exit(program.run(main))
