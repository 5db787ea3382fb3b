"""Trains a model: python -m cyclegan_jax.main --config=configs/NAME.py

Run the same command again to resume a stopped run. Several processes train
together with --distributed=auto, or with --coordinator, --num-processes and
--process-id (launch/README.md). Exit codes: 0: done. 2: invalid input, or a run
that cannot continue; a one-line message says why. 129, 130 or 143: stopped by
SIGHUP, Ctrl-C or SIGTERM; 141: the reader of the output is gone (state saved in
these four cases). Others: unexpected error; the command may be tried again.
"""

import sys

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {
  'profile': ('START:COUNT', '', 'COUNT steps after START, to tensorboard/'),
  **flags.PROCESS_FLAGS,
}


def main(argv):
  config, workdir, values = flags.parse_run(argv, __doc__, FLAGS)
  # The slow imports come after the flags, so a typo is reported immediately.
  program.quiet()
  from cyclegan_jax import report
  from cyclegan_jax.common import hosts, terminal
  from cyclegan_jax.config import identity
  from cyclegan_jax.config.options import flatten
  from cyclegan_jax.config.run import build_evaluation, build_run
  from cyclegan_jax.exporters.web import command
  from cyclegan_jax.inference import saved
  from cyclegan_jax.training import processes, profiling, trainer
  from cyclegan_jax.training.workdir import Workdir, open_workdir

  profile = profiling.parse(values['profile'])
  processes.join(values, stops=True)
  processes.check_same_config(flatten(config.to_dict()))
  with terminal.patient(), open_workdir(workdir):
    with processes.together():
      config.init_from = saved.pinned(config.init_from, workdir)
    processes.check_same({'init_from': config.init_from})
    with processes.together():
      run = build_run(config, workdir)._replace(profile=profile)
      if config.init_from:
        run = run._replace(
          init_from=lambda: saved.load(config.init_from).params
        )
      evaluate = build_evaluation(
        config, run, workdir, lambda *args: saved.save(args[0], config, args[1])
      )
    for line in run.data.notes * hosts.writes():
      print(f'note: {line}')
    identity.begin(workdir, config, run.data.source)
    with identity.unusable_noted(workdir, run.data.source):
      result = trainer.train(run._replace(evaluate=evaluate), workdir)
    code = trainer.report(result, Workdir(workdir), run.schedule.steps)
    if config.log.report and not code and hosts.writes():
      try:
        print(f'report:          {report.write(workdir)}')
      except UserError as e:  # the training itself is saved
        print(f'warning: no report: {e}')
      print(end=command.invitation(config, run.method, workdir))
    hosts.wait_for_all('end')
    return code


if __name__ == '__main__':
  program.large_pages()
  sys.exit(program.run(main))
