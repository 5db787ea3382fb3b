"""Trains a model: python -m cyclegan_jax.main --config=configs/NAME.py

Run the same command again to continue where it stopped. Exit codes: 0 done,
2 something given doesn't fit, 130 or 143 stopped by Ctrl-C or SIGTERM (saved).
"""

import sys

from cyclegan_jax import cli
from cyclegan_jax.errors import UserError


def main(argv):
  config, workdir = cli.parse(argv, __doc__)
  # The heavy imports come after the flags: a typo is answered at once.
  cli.quiet()
  from cyclegan_jax import build, model, parallel, record, report, train

  with record.open_workdir(workdir):
    run = build.build_run(config)
    if config.init_from:
      run = run._replace(initial=lambda: model.load(config.init_from).params)
    run = run._replace(
      evaluate=build.build_evaluation(
        config, run, workdir, lambda *args: model.save(args[0], config, args[1])
      )
    )
    record.begin(workdir, config, run.data.source)
    result = train.train(run, workdir)
    code = record.report(result, train.Workdir(workdir), run.schedule.steps)
    if config.log.report and not code and parallel.writes():
      try:
        print(f'report:          {report.write(workdir)}')
      except UserError as e:  # what was trained is saved all the same
        print(f'warning: no report: {e}')
    return code


if __name__ == '__main__':
  cli.large_pages()
  sys.exit(cli.run(main))
