#!/usr/bin/env bash
# Trains in several processes on this machine.
set -euo pipefail

usage() {
  cat <<'END'
Trains in several processes on this machine, each on virtual CPU devices or one
GPU:

  launch/local.sh --processes=2 --cpu-devices=2 -- \
    --config=configs/satellite2map.py --workdir=runs/NAME

  --processes=N      number of processes (2)
  --cpu-devices=K    virtual CPU devices per process (1)
  --gpus             use one GPU per process, from CUDA_VISIBLE_DEVICES if set
  --program=MODULE   Python module to run (cyclegan_jax.main)
  --logs=DIR         folder for the output of processes 1, 2, ... (a new folder)
  --help             print this text
  -- ARGUMENTS       arguments of the program

Process 0 prints to this terminal. Ctrl-C and SIGTERM are sent to all processes:
they save a checkpoint of the same step, and the same command resumes the run.
If a process fails, the others are stopped, and its exit code is the exit code
of this script. The variable PYTHON is the interpreter (python).
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
    *) fail "$1: unknown flag (see --help); flags of the program follow --" ;;
  esac
  shift
done
[[ "$processes" =~ ^[1-9][0-9]*$ ]] ||
  fail "--processes=$processes: give a whole number from 1"
[[ "$devices" =~ ^[1-9][0-9]*$ ]] ||
  fail "--cpu-devices=$devices: give a whole number from 1"
(($#)) || fail 'no arguments after --: give the arguments of the program'
python="${PYTHON:-python}"
command -v "$python" >/dev/null ||
  fail "PYTHON=$python: not found; activate the environment or set PYTHON"
if [[ "$gpus" ]]; then
  all="$(seq -s, 0 $((processes - 1)))"
  IFS=, read -ra ids <<<"${CUDA_VISIBLE_DEVICES:-$all}"
  ((${#ids[@]} >= processes)) ||
    fail "--processes=$processes: CUDA_VISIBLE_DEVICES has only ${#ids[@]} GPUs"
else
  export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices"
  export JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo
fi
if [[ "$logs" ]]; then
  mkdir -p "$logs" || fail "--logs=$logs: cannot create this folder"
else
  logs="$(mktemp -d)"
fi
port="$("$python" -c '
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
print(server.getsockname()[1])')"

pids=()
# Each signal must reach the program once, as a second one stops it without
# saving. So each process gets a process group of its own (set -m), which the
# terminal does not signal, and this script passes signals on.
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
  echo "output of processes 1 to $((processes - 1)): $logs/N.log" >&2

first=0 deadline=''
while ((${#pids[@]})); do
  sleep 0.2 || true # a signal from the terminal also ends the sleep
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    code=0
    wait "${pids[i]}" || code=$?
    unset "pids[i]"
    ((code && !first)) || continue
    first=$code
    # Stopped by a signal: all processes save the same step; do not rush them.
    ((code == 130 || code == 143)) && continue
    echo "process $i ended with exit code $code" >&2
    ((i == 0)) || tail -n 20 "$logs/$i.log" >&2
    tell TERM
    deadline=$((SECONDS + 10)) # the others may be waiting for the dead process
  done
  [[ ! "$deadline" ]] || ((SECONDS < deadline)) || tell KILL
done
exit "$first"
