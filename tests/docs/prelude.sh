# What stands before the commands of the documentation when a test runs them.
set -euo pipefail

# What a reader has installed or builds is what was just built.
xray-processor-worker() {
  if [ "${1:-}" = run ] && [[ " $* " != *" --input "* ]]; then
    serve "$@"
  elif [ -s "$STATE/address" ]; then
    HTTP_ADDR=$(cat "$STATE/address") "$WORKER" "$@"
  else
    "$WORKER" "$@"
  fi
}

cargo() {
  [ "$1" = run ] && [[ " $* " = *" -- "* ]] || { echo "only cargo run is known here: cargo $*" >&2; return 2; }
  while [ "$1" != -- ]; do
    if [ "$1" = --features ]; then
      grep -q "^$2 = " "$PROJECT/Cargo.toml" || { echo "Cargo.toml has no feature $2" >&2; return 2; }
    fi
    shift
  done
  shift
  xray-processor-worker "$@"
}

# A worker that serves goes on while the next commands come, as in another terminal. Its port is a free one.
serve() {
  local log pid
  log=$(mktemp "$STATE/worker.XXXXXX")
  HTTP_ADDR=127.0.0.1:0 LOG_FORMAT=json "$WORKER" "$@" </dev/null >"$log" 2>&1 &
  pid=$!
  echo "$pid" >>"$STATE/pids"
  until grep -q '"http server is up"' "$log"; do
    kill -0 "$pid" || { cat "$log" >&2; return 1; }
    sleep 0.05
  done
  grep '"http server is up"' "$log" | grep -o '"address":"[^"]*"' | cut -d '"' -f 4 >"$STATE/address"
}

# A worker that is being started is waited for, as by somebody who types.
curl() {
  if [[ " $* " = *localhost:8080* ]]; then
    until [ -s "$STATE/address" ]; do sleep 0.05; done
    command curl -sS "${@//localhost:8080/$(cat "$STATE/address")}"
  else
    command curl -sS "$@"
  fi
}

# Of what was put into the background the commands that follow expect that it runs.
wait_for_jobs() {
  local job
  for job in $(jobs -p); do
    grep -qx "$job" "$STATE/pids" 2>/dev/null || wait "$job"
  done
}
