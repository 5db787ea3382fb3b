#!/usr/bin/env bash
# Trains on a Cloud TPU slice; resumes the run after a spot slice is preempted.
set -euo pipefail

usage() {
  cat <<'END'
Trains on a Cloud TPU slice: creates the slice unless it exists, copies the last
commit, installs pinned versions, runs the command on every worker and prints
the log of worker 0. A preempted slice is created again, and the same command
resumes the run:

  launch/tpu_pod.sh --name=NAME --zone=us-west4-a --type=v5litepod-16 --spot \
    -- --config=configs/NAME.py --workdir=gs://BUCKET/NAME \
    --config.train.batch_size=16

The batch is divided over all chips and must be a multiple of their number.

  --name=NAME        name of the slice
  --zone=ZONE        zone of the slice
  --type=TYPE        accelerator type, such as v5litepod-16
  --version=RUNTIME  image of the workers (tpu-ubuntu2204-base)
  --project=ID       project to bill (setting of gcloud)
  --spot             use a spot slice: cheap, but may be preempted at any time
  --queued           request the slice as a queued resource
  --keep             keep the slice when the run is done (default: delete)
  --retries=N        number of restarts after preemption or loss (100); two
                     crashes in a row on a working slice end the script
  --poll=SECONDS     time between checks of a slice that is not ready (30)
  --delete           only delete the slice of --name and --zone
  --dry-run          print the commands instead of running them
  --help             print this text
  -- ARGUMENTS       arguments of cyclegan_jax.main

On Ctrl-C and SIGTERM the run is saved and the slice is kept. The exit code is
the one of cyclegan_jax.main. gcloud connects to the workers by ssh: first run
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
    *) fail "$1: unknown flag (see --help); flags of the program follow --" ;;
  esac
  shift
done
[[ "$name" ]] || fail 'no --name: give the name of the slice (see --help)'
[[ "$zone" ]] || fail 'no --zone: give the zone of the slice (see --help)'
[[ "$retries" =~ ^[0-9]+$ ]] || fail "--retries=$retries: give a whole number"
[[ "$poll" =~ ^[0-9]+$ ]] || fail "--poll=$poll: give whole seconds"
if [[ ! "$delete" ]]; then
  [[ "$type" ]] || fail 'no --type: give an accelerator type (see --help)'
  workdir=''
  for argument; do
    [[ "$argument" != --workdir=* ]] || workdir="${argument#*=}"
  done
  [[ "$workdir" == gs://* || "$workdir" == /* ]] ||
    fail "--workdir=$workdir: all workers write to it: give gs://... or the" \
      'absolute path of a folder mounted on all of them'
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
# Quoted once more, because the remote shell splits the command line again.
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
    say "$name does not exist"
  else
    delete_slice
  fi
  exit
fi
[[ -z "$(git status --porcelain --untracked-files=no)" ]] ||
  say 'uncommitted changes are not copied'

# Ctrl-C would end the connections but not the training. So the connections run
# in process groups of their own (set -m), which the terminal does not signal.
training='' stopped=''
# shellcheck disable=SC2329  # called by the traps
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
  while kill -0 "$training" 2>/dev/null; do # a signal ended the wait
    code=0
    wait "$training" || code=$?
  done
  training=''
  for _ in {1..25}; do # wait for the last lines
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
  ((code == 0 || try)) || exit "$code" # wrong flags
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
  # 143: saved; 255: connection lost. Other exit codes on a working slice are a
  # crash of the program.
  if [[ "$now" == READY ]] && ((code != 143 && code != 255)); then
    ((++crashes < 2)) || break
  else
    crashes=0
  fi
  say "exit code $code, $name is $now: trying again"
  sleep "$poll"
done
say "exit code $code; $name still exists: --delete deletes it"
exit "$code"
