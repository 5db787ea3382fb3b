#!/usr/bin/env bash
# Trains in several processes of this machine.
set -euo pipefail

usage() {
  cat <<'END'
Trains in several processes of this machine, on virtual CPU devices or one GPU
each:

  launch/local.sh --processes=2 --cpu-devices=2 -- \
    --config=configs/satellite2map.py --workdir=runs/NAME

  --processes=N      how many processes (2)
  --cpu-devices=K    virtual CPU devices of each (1)
  --gpus             one GPU a process instead, of CUDA_VISIBLE_DEVICES if set
  --program=MODULE   what to run (cyclegan_jax.main)
  --logs=DIR         where the output of processes 1, 2, ... goes (a new folder)
  --help             this text
  -- ARGUMENTS       of the program

Process 0 prints here. Ctrl-C and SIGTERM go to all: they save the same step,
and the same command continues. The exit code is that of the first process that
fails, which ends the others. PYTHON is the interpreter (python).
END
}

fail() {
  echo "error: $*" >&2
  exit 2
}

processes=2 devices=1 gpus='' program=cyclegan_jax.main logs=''
while (($#)); do
  case "$1" in
    --processes=*) processes="${1#*=}" ;;
    --cpu-devices=*) devices="${1#*=}" ;;
    --gpus) gpus=yes ;;
    --program=*) program="${1#*=}" ;;
    --logs=*) logs="${1#*=}" ;;
    --help | -h) usage && exit ;;
    --) shift && break ;;
    *) fail "$1 is no option: see --help; the program's come after --" ;;
  esac
  shift
done
[[ "$processes" =~ ^[1-9][0-9]*$ ]] ||
  fail "--processes=$processes: give a whole number from 1"
[[ "$devices" =~ ^[1-9][0-9]*$ ]] ||
  fail "--cpu-devices=$devices: give a whole number from 1"
(($#)) || fail 'nothing after --: give the arguments of the program'
python="${PYTHON:-python}"
command -v "$python" >/dev/null ||
  fail "PYTHON=$python: no such program; activate the environment or set PYTHON"
if [[ "$gpus" ]]; then
  all="$(seq -s, 0 $((processes - 1)))"
  IFS=, read -ra ids <<<"${CUDA_VISIBLE_DEVICES:-$all}"
  ((${#ids[@]} >= processes)) ||
    fail "--processes=$processes: CUDA_VISIBLE_DEVICES has ${#ids[@]} only"
else
  export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices"
  export JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo
fi
if [[ "$logs" ]]; then
  mkdir -p "$logs" || fail "--logs=$logs: it can't be made"
else
  logs="$(mktemp -d)"
fi
port="$("$python" -c '
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
print(server.getsockname()[1])')"

pids=()
# A signal that comes once is passed on once: a second one stops the program
# without saving, so each process gets a group of its own (set -m), out of the
# terminal's reach.
trap 'tell INT' INT
trap 'tell TERM' TERM
tell() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill -"$1" "$pid" 2>/dev/null || true
  done
}

set -m
for ((i = 0; i < processes; i++)); do
  [[ ! "$gpus" ]] || export CUDA_VISIBLE_DEVICES="${ids[i]}"
  command=("$python" -u -m "$program" "$@" --coordinator="127.0.0.1:$port"
    --num-processes="$processes" --process-id="$i")
  if ((i)); then
    "${command[@]}" </dev/null >"$logs/$i.log" 2>&1 &
  else
    "${command[@]}" </dev/null &
  fi
  pids[i]=$!
done
set +m
((processes == 1)) ||
  echo "processes 1 to $((processes - 1)) print to $logs/N.log" >&2

first=0 deadline=''
while ((${#pids[@]})); do
  sleep 0.2 || true # a signal of the terminal ends it too
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    code=0
    wait "${pids[i]}" || code=$?
    unset "pids[i]"
    ((code && !first)) || continue
    first=$code
    # Told to stop, all save the same step, in their own time.
    ((code == 130 || code == 143)) && continue
    echo "process $i ended with exit code $code" >&2
    ((i == 0)) || tail -n 20 "$logs/$i.log" >&2
    tell TERM
    deadline=$((SECONDS + 10)) # the others may be waiting for it in vain
  done
  [[ ! "$deadline" ]] || ((SECONDS < deadline)) || tell KILL
done
exit "$first"
