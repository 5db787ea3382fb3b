# shellcheck shell=bash
# A slice's life, for tpu_pod.sh, which has set these:
: "${name?}" "${zone?}" "${type?}" "${version?}" "${project?}" "${spot?}"
: "${queued?}" "${dry?}" "${poll?}" "${tmp?}" "${worker?}"

where=(--zone="$zone")
[[ ! "$project" ]] || where+=(--project="$project")
tpu=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)

# Its arguments as one types them in a shell.
quoted() {
  local word line='' quote="'\\''"
  for word; do
    [[ "$word" =~ ^[-A-Za-z0-9_./:=@%+,]+$ ]] || word="'${word//\'/$quote}'"
    line+=" $word"
  done
  echo "${line# }"
}

# Runs a command, or prints it.
run() {
  if [[ "$dry" ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

# The state that a describe command prints, ABSENT if there is no such thing.
state_of() {
  local out
  if out="$("$@" 2>"$tmp/describe")"; then
    echo "$out"
  elif grep -qi 'not[_ ]found' "$tmp/describe"; then
    echo ABSENT
  else
    cat "$tmp/describe" >&2
    return 1
  fi
}

state() {
  local queue_state node_state
  if [[ "$queued" ]]; then
    queue_state="$(state_of "${queue[@]}" describe "$name" "${where[@]}" \
      --format='value(state.state)')" || return 1
    if [[ "$queue_state" != ACTIVE ]]; then
      echo "$queue_state"
      return
    fi
  fi
  node_state="$(state_of "${tpu[@]}" describe "$name" "${where[@]}" \
    --format='value(state)')" || return 1
  # An active request whose slice is gone gives no other.
  [[ ! "$queued" || "$node_state" != ABSENT ]] || node_state=SUSPENDED
  echo "$node_state"
}

create_slice() {
  local options=("${where[@]}" --accelerator-type="$type")
  [[ ! "$spot" ]] || options+=(--spot)
  if [[ "$queued" ]]; then
    run "${queue[@]}" create "$name" --node-id="$name" \
      --runtime-version="$version" "${options[@]}"
  else
    run "${tpu[@]}" create "$name" --version="$version" "${options[@]}"
  fi
}

delete_slice() {
  if [[ "$queued" ]]; then
    run "${queue[@]}" delete "$name" "${where[@]}" --force --quiet
  else
    run "${tpu[@]}" delete "$name" "${where[@]}" --quiet
  fi
}

# Waits until the slice is ready; creates it, anew where it was taken away.
ensure_slice() {
  local now last=''
  while :; do
    now="$(state)" || return 1
    [[ "$now" == "$last" ]] || say "$name is $now"
    last="$now"
    case "$now" in
      READY) return ;;
      ABSENT) create_slice || return 1 ;;
      PREEMPTED | TERMINATED | FAILED | SUSPENDED) delete_slice || return 1 ;;
      STOPPED) fail "--name=$name is a stopped slice: start or delete it" ;;
      *) sleep "$poll" ;;
    esac
  done
}

# Runs a command line on a worker, or on all.
on() {
  run "${tpu[@]}" ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

install_code() {
  run git archive --format=tar.gz --output="$tmp/cyclegan_jax.tar.gz" HEAD &&
    run "${tpu[@]}" scp "$tmp/cyclegan_jax.tar.gz" "$name:" "${where[@]}" \
      --worker=all &&
    on all "mkdir -p cyclegan_jax && tar -xzf cyclegan_jax.tar.gz -C \
cyclegan_jax && $worker install"
}
