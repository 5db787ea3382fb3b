#!/usr/bin/env bash
# Commands of launch/tpu_pod.sh on each worker of a TPU slice.
set -euo pipefail

usage() {
  cat <<'END'
Commands that launch/tpu_pod.sh runs on every worker of a slice:

  tpu_worker.sh install        installs pinned versions in ~/cyclegan_jax_venv
  tpu_worker.sh run ARGUMENTS  trains; writes the log ~/cyclegan_jax.log
  tpu_worker.sh log            follows the log until the training ends
  tpu_worker.sh stop           stops the training, which saves first
END
}

venv="$HOME/cyclegan_jax_venv"
log="$HOME/cyclegan_jax.log"
pid_file="$HOME/cyclegan_jax.pid"
code_file="$HOME/cyclegan_jax.code"
cd "$(dirname "$0")/.."

install_pinned() {
  export PATH="$HOME/.local/bin:$PATH"
  # The runtime images have Python 3.10; uv installs a newer version.
  command -v uv >/dev/null ||
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user uv
  [[ -x "$venv/bin/python" ]] || uv venv -q --python 3.11 "$venv"
  uv pip install -q --python "$venv/bin/python" -c constraints.txt \
    -e '.[demo,gcs,tpu]'
}

# Prints the process id of the training, if it is running. After a reboot the
# id may belong to another program.
training() {
  local pid
  pid="$(cat "$pid_file" 2>/dev/null)" || return 1
  grep -qs cyclegan_jax "/proc/$pid/cmdline" && echo "$pid"
}

stop() {
  local pid
  pid="$(training)" || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((i = 0; i < 300; i++)); do
    training >/dev/null || return 0
    sleep 1
  done
  kill -KILL "$pid"
}

# When a connection is lost, gcloud connects again and repeats the command,
# which then waits for the training that is still running.
run() {
  exec >>"$log" 2>&1 </dev/null # the connection may be lost
  if ! training >/dev/null; then
    rm -f "$code_file"
    # With explicit platforms, an unusable TPU is an error instead of a fallback
    # to the CPU.
    export JAX_PLATFORMS="${JAX_PLATFORMS:-tpu,cpu}"
    "$venv/bin/python" -u -m cyclegan_jax.main --distributed=auto "$@" &
    echo $! >"$pid_file"
    local code=0
    wait $! || code=$?
    echo "$code" >"$code_file"
  fi
  while training >/dev/null; do sleep 1; done
  sleep 0.1
  exit "$(cat "$code_file" 2>/dev/null || echo 1)"
}

case "${1:-}" in
  install)
    # A training may still be running after its connection was lost.
    stop
    rm -f "$pid_file" "$code_file" "$log"
    install_pinned
    ;;
  run)
    shift
    run "$@"
    ;;
  log)
    for ((i = 0; i < 300; i++)); do
      [[ ! -s "$pid_file" ]] || break
      sleep 0.2
    done
    tail -s 0.5 -n +1 --pid="$(cat "$pid_file")" -f "$log"
    ;;
  stop) stop ;;
  --help | -h) usage ;;
  *)
    echo "error: ${1:-no command}: give install, run, log or stop" >&2
    exit 2
    ;;
esac
