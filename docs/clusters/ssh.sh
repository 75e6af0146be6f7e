#!/usr/bin/env bash
# A study on machines one has SSH to (by key, without a question). From the folder of the study's store:
#
#     HOSTS="node1 node2" WORKERS=4 ./ssh.sh studies/mine.toml
#
# PROGRAMS: folder on the hosts with their `dask` (a virtual environment's bin). FOLDER: where workers start there.
# DATA: folder of the data files there. ADDRESS: of this machine, as the hosts reach it.
# All ends with the command. Options behind the study go to `ablate run`.
set -euo pipefail

study=${1:?usage: HOSTS="node1 node2" ./ssh.sh STUDY.toml [OPTION…]}
shift
hosts=${HOSTS:?HOSTS must name the machines}
address=${ADDRESS:-$(hostname)}
programs=${PROGRAMS:-$PWD/.venv/bin}
folder=${FOLDER:-$PWD}

run=$(mktemp -d)
dask scheduler --host "$address" --port 0 --scheduler-file "$run/scheduler.json" \
  --no-dashboard --dashboard-address 127.0.0.1:0 &
started=($!)
trap 'kill "${started[@]}" 2>/dev/null || true; wait; rm -rf "$run"' EXIT

until [ -s "$run/scheduler.json" ]; do
  kill -0 "${started[0]}"
  sleep 1
done
scheduler=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$run/scheduler.json")

for host in $hosts; do
  # -tt: the far side ends with this one. --death-timeout: or when it no longer reaches the scheduler.
  ssh -tt "$host" "cd '$folder' && ABLATE_DATA='${DATA:-$folder}' DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False \
    exec '$programs/dask' worker '$scheduler' --name '$host' --nworkers ${WORKERS:-1} --nthreads 1 \
    --memory-limit 0 --no-dashboard --dashboard-address 127.0.0.1:0 --death-timeout 60" </dev/null &
  started+=($!)
done

ablate run "$study" --scheduler "$scheduler" "$@" &
ablate=$!
trap 'kill -TERM "$ablate"' TERM INT
code=0
wait "$ablate" || code=$?
if kill -0 "$ablate" 2>/dev/null; then # the signal ended the waiting, not the command
  code=0
  wait "$ablate" || code=$?
fi
exit "$code"
