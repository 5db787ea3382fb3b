#!/usr/bin/env bash
# What each worker of a TPU slice does for launch/tpu_pod.sh.
set -euo pipefail

usage() {
  cat <<'END'
What launch/tpu_pod.sh has every worker of a slice do:

  tpu_worker.sh install        makes ~/cyclegan_jax_venv, of pinned versions
  tpu_worker.sh run ARGUMENTS  trains; prints to ~/cyclegan_jax.log
  tpu_worker.sh log            follows that until the training ends
  tpu_worker.sh stop           has a training save and end
END
}

venv="$HOME/cyclegan_jax_venv"
log="$HOME/cyclegan_jax.log"
pid_file="$HOME/cyclegan_jax.pid"
code_file="$HOME/cyclegan_jax.code"
cd "$(dirname "$0")/.."

install_pinned() {
  export PATH="$HOME/.local/bin:$PATH"
  # The runtime images come with Python 3.10; uv brings a newer one.
  command -v uv >/dev/null ||
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user uv
  [[ -x "$venv/bin/python" ]] || uv venv -q --python 3.11 "$venv"
  uv pip install -q --python "$venv/bin/python" -c constraints.txt \
    -e '.[demo,gcs,tpu]'
}

# The process that trains here; after a restart of the machine its number may be
# another program's.
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

# When a connection is lost gcloud connects again and gives the same command: it
# then waits for the training that goes on.
run() {
  exec >>"$log" 2>&1 </dev/null # not to the connection, which may be lost
  if ! training >/dev/null; then
    rm -f "$code_file"
    # With a platform named, a TPU that can't be used is an error, and the CPU
    # doesn't take its place.
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
    # A lost connection leaves its training running.
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
    echo "error: ${1:-nothing} is none of install, run, log, stop" >&2
    exit 2
    ;;
esac
