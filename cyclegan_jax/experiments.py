"""Runs the experiments of the paper, one command for each:

    python -m cyclegan_jax.experiments --suite=models \
      --config=configs/satellite2map.py --seeds=3 --workdir=runs/experiments

Trains all runs of a suite, evaluates them, and writes tables.md, tables.csv and
figures/ to --workdir. Finished runs are skipped and stopped runs are resumed,
so the same command can be run again. Suites: models (Tables 1 to 3 of the
paper), losses (Tables 4 and 5), reconstruction (Figure 4), limits (Sec. 6),
all. Exit codes: 0: done. 1 or 2: some runs failed. 2: invalid input; a one-line
message says why. 130 or 143: stopped by Ctrl-C or SIGTERM, state saved.
"""

import shlex
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.paper import runs

FLAGS = {
  'suite': (
    'NAME',
    '',
    'models | losses | reconstruction | limits | all: experiments to run',
  ),
  'seeds': (
    'N',
    3,
    'runs of each table row; their seeds count up from the seed of the config',
  ),
  'workdir': (
    'DIR',
    '',
    'folder of runs and tables; by default runs/experiments',
  ),
  'jobs': (
    'N',
    1,
    'runs at the same time, each on its own accelerator or share of CPU cores',
  ),
  'metrics': (
    'NAMES',
    runs.DEFAULT_METRICS,
    'metrics of cyclegan_jax.evaluate, separated by commas',
  ),
  'segmenter': (
    'PATH',
    '',
    'fcn: network that reads label maps from pictures; by default it is '
    'trained here if the dataset has label maps',
  ),
  'palette': (
    'NAME',
    '',
    'cityscapes: read the label maps from the colours of the test pictures of '
    'B',
  ),
  'inception': (
    'PATH',
    '',
    'fid, kid: file with the Inception weights of PyTorch-FID',
  ),
  'num-processes': (
    'N',
    1,
    'number of hosts that share the runs and --workdir; each runs this command',
  ),
  'process-id': (
    'I',
    0,
    'number of this host, from 0; host 0 writes the tables',
  ),
  'dry-run': ('', False, 'print the commands that are left, and run none'),
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
      f'--process-id={part[0]}: must be at least 0 and less than '
      f'--num-processes={part[1]}'
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
  if part[0]:  # only host 0 locks the folder; each run has its own lock
    return suite_run.help_out(
      experiment, values['suite'], values['jobs'], part, _say
    )
  with open_workdir(workdir):
    return suite_run.run(
      experiment, values['suite'], values['jobs'], argv, _say, part
    )


def _say(line):
  print(line, flush=True)  # shown immediately, also in a log file


def given(argv):
  """Returns the words --config and --config.KEY=VALUE of a command line.

  A value in a separate word is kept too.

  Args:
    argv: the command line, program first.
  """
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
