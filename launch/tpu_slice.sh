# shellcheck shell=bash
# Functions that create, check and delete a slice. Sourced by tpu_pod.sh, which
# sets these variables:
: "${name?}" "${zone?}" "${type?}" "${version?}" "${project?}" "${spot?}"
: "${queued?}" "${dry?}" "${poll?}" "${tmp?}" "${worker?}"

where=(--zone="$zone")
[[ ! "$project" ]] || where+=(--project="$project")
tpu=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)

# Prints its arguments, quoted for a shell.
quoted() {
  local word line='' quote="'\\''"
  for word; do
    [[ "$word" =~ ^[-A-Za-z0-9_./:=@%+,]+$ ]] || word="'${word//\'/$quote}'"
    line+=" $word"
  done
  echo "${line# }"
}

# Runs a command; with --dry-run prints it instead.
run() {
  if [[ "$dry" ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

# Prints the output of a describe command, or ABSENT if the resource is missing.
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
  # A queued request whose slice is gone does not create another slice.
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

# Waits until the slice is ready; creates a missing or preempted slice.
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
      STOPPED) fail "--name=$name: the slice is stopped: start or delete it" ;;
      *) sleep "$poll" ;;
    esac
  done
}

# Runs the command line $2 on worker $1, or on all workers (all).
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
