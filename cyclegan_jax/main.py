"""Trains a model: python -m cyclegan_jax.main --config=configs/NAME.py

Run the same command again to continue where it stopped. Several processes, of
one machine or many, train together by --distributed=auto or the three flags
behind it (launch/README.md). Exit codes: 0 done, 2 something given doesn't fit,
130 or 143 stopped by Ctrl-C or SIGTERM (saved); any other may be tried again.
"""

import sys

from cyclegan_jax import cli
from cyclegan_jax.common.errors import UserError

FLAGS = {
  'profile': (
    'START:COUNT',
    '',
    'writes a profile of COUNT steps behind step START to tensorboard/',
  ),
  **cli.PROCESS_FLAGS,
}


def main(argv):
  config, workdir, values = cli.parse_run(argv, __doc__, FLAGS)
  # The heavy imports come after the flags: a typo is answered at once.
  cli.quiet()
  from cyclegan_jax import (
    build,
    cluster,
    model,
    profiling,
    record,
    report,
    train,
  )
  from cyclegan_jax.common import hosts

  profile = profiling.parse(values['profile'])
  cluster.join(values, stops=True)
  cluster.check_same_config(record.flat(config.to_dict()))
  with record.open_workdir(workdir):
    with cluster.together():
      run = build.build_run(config)._replace(profile=profile)
      if config.init_from:
        run = run._replace(initial=lambda: model.load(config.init_from).params)
      evaluate = build.build_evaluation(
        config, run, workdir, lambda *args: model.save(args[0], config, args[1])
      )
    record.begin(workdir, config, run.data.source)
    result = train.train(run._replace(evaluate=evaluate), workdir)
    code = record.report(result, train.Workdir(workdir), run.schedule.steps)
    if config.log.report and not code and hosts.writes():
      try:
        print(f'report:          {report.write(workdir)}')
      except UserError as e:  # what was trained is saved all the same
        print(f'warning: no report: {e}')
    hosts.wait_for_all('end')
    return code


if __name__ == '__main__':
  cli.large_pages()
  sys.exit(cli.run(main))
