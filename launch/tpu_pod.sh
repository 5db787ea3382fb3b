#!/usr/bin/env bash
# Trains on a Cloud TPU slice, and goes on when a spot slice is taken away.
set -euo pipefail

usage() {
  cat <<'END'
Trains on a Cloud TPU slice: creates it or takes the one there, copies the last
commit, installs pinned versions, runs the command on every worker and prints
the log of worker 0. When the slice is taken away it is created again, and the
same command continues the run:

  launch/tpu_pod.sh --name=NAME --zone=us-west4-a --type=v5litepod-16 --spot \
    -- --config=configs/NAME.py --workdir=gs://BUCKET/NAME

  --name=NAME        of the slice
  --zone=ZONE        where
  --type=TYPE        accelerator type, such as v5litepod-16
  --version=RUNTIME  image of the workers (tpu-ubuntu2204-base)
  --project=ID       of the bill (gcloud's own setting)
  --spot             cheap, and taken away at any time
  --queued           wait in the queue of queued resources for a place
  --keep             leave the slice when the run is done, else it's deleted
  --retries=N        times to run again after preemption or loss (100); a second
                     crash in turn of a slice that is there is the end
  --poll=SECONDS     between looks at a slice that isn't ready (30)
  --delete           delete the slice of --name and --zone, and nothing else
  --dry-run          print the commands and run none
  --help             this text
  -- ARGUMENTS       of cyclegan_jax.main

Ctrl-C and SIGTERM have the run saved and leave the slice. The exit code is
that of cyclegan_jax.main. gcloud reaches the workers by ssh: first do
ssh-add ~/.ssh/google_compute_engine
END
}

fail() {
  echo "error: $*" >&2
  exit 2
}

say() { echo "tpu_pod: $*" >&2; }

name='' zone='' type='' version=tpu-ubuntu2204-base project='' spot='' queued=''
keep='' retries=100 poll=30 delete='' dry=''
while (($#)); do
  case "$1" in
    --name=*) name="${1#*=}" ;;
    --zone=*) zone="${1#*=}" ;;
    --type=*) type="${1#*=}" ;;
    --version=*) version="${1#*=}" ;;
    --project=*) project="${1#*=}" ;;
    --spot) spot=yes ;;
    --queued) queued=yes ;;
    --keep) keep=yes ;;
    --retries=*) retries="${1#*=}" ;;
    --poll=*) poll="${1#*=}" ;;
    --delete) delete=yes ;;
    --dry-run) dry=yes ;;
    --help | -h) usage && exit ;;
    --) shift && break ;;
    *) fail "$1 is no option: see --help; the program's come after --" ;;
  esac
  shift
done
[[ "$name" ]] || fail 'no --name: name the slice (see --help)'
[[ "$zone" ]] || fail 'no --zone: say where the slice is (see --help)'
[[ "$retries" =~ ^[0-9]+$ ]] || fail "--retries=$retries: give a whole number"
[[ "$poll" =~ ^[0-9]+$ ]] || fail "--poll=$poll: give whole seconds"
if [[ ! "$delete" ]]; then
  [[ "$type" ]] || fail 'no --type: give an accelerator type (see --help)'
  workdir=''
  for argument; do
    [[ "$argument" != --workdir=* ]] || workdir="${argument#*=}"
  done
  [[ "$workdir" == gs://* || "$workdir" == /* ]] ||
    fail "--workdir=$workdir: all workers share it, give gs://... or" \
      'a folder mounted on all of them'
fi
[[ "$dry" ]] || command -v gcloud >/dev/null ||
  fail 'no gcloud: install the Google Cloud CLI'

cd "$(dirname "$0")/.."
worker=cyclegan_jax/launch/tpu_worker.sh
tmp=/tmp
if [[ ! "$dry" ]]; then
  tmp="$(mktemp -d)"
  trap 'rm -rf "$tmp"' EXIT
fi
source launch/tpu_slice.sh
# The remote shell takes the command line apart once more.
train_command="$worker run $(quoted "$@")"

if [[ "$dry" ]]; then
  if [[ ! "$delete" ]]; then
    create_slice
    install_code
    on 0 "$worker log"
    on all "$train_command"
  fi
  [[ "$keep" && ! "$delete" ]] || delete_slice
  exit
fi
if [[ "$delete" ]]; then
  if [[ "$(state)" == ABSENT ]]; then
    say "there is no $name"
  else
    delete_slice
  fi
  exit
fi
[[ -z "$(git status --porcelain --untracked-files=no)" ]] ||
  say 'what is not committed is not copied'

# Ctrl-C would end the connections and leave the training: they run in groups
# of their own (set -m), out of the terminal's reach.
training='' stopped=''
# shellcheck disable=SC2329  # the traps call it
stop() {
  [[ "$training" ]] || exit "$1"
  stopped="$1"
  on all "$worker stop" >&2 || true
}
trap 'stop 130' INT
trap 'stop 143' TERM

train() {
  local code=0 log
  set -m
  on 0 "$worker log" </dev/null &
  log=$!
  on all "$train_command" </dev/null &
  training=$!
  set +m
  wait "$training" || code=$?
  while kill -0 "$training" 2>/dev/null; do # a signal came meanwhile
    code=0
    wait "$training" || code=$?
  done
  training=''
  for _ in {1..25}; do # the last lines come
    kill -0 "$log" 2>/dev/null || break
    sleep 0.2
  done
  kill "$log" 2>/dev/null || true
  return "$code"
}

crashes=0
for ((try = 0; try <= retries; try++)); do
  code=0
  ensure_slice || code=$?
  ((code == 0 || try)) || exit "$code" # options that don't fit
  if ((code == 0)); then
    if install_code; then train || code=$?; else code=1; fi
  fi
  [[ ! "$stopped" ]] || code="$stopped"
  case "$code" in
    0)
      [[ "$keep" ]] || delete_slice
      exit
      ;;
    2) break ;;
  esac
  [[ ! "$stopped" ]] || break
  now="$(state)" || now=unknown
  # 143 is saved, 255 a lost connection: all else, on a slice that is still
  # there, is the program's own.
  if [[ "$now" == READY ]] && ((code != 143 && code != 255)); then
    ((++crashes < 2)) || break
  else
    crashes=0
  fi
  say "exit code $code, $name is $now: again"
  sleep "$poll"
done
say "exit code $code; $name is left: --delete deletes it"
exit "$code"
