#!/usr/bin/env bash
# A whole study in one SLURM job: scheduler, workers and `ablate run`. From the folder of the store:
#
#     sbatch slurm.sh studies/mine.toml
#
# Submitted again after its time was up, it goes on where it stopped. Options behind the study go to `ablate run`.
#SBATCH --job-name=ablate
#SBATCH --ntasks=9              # 8 workers, and one for the scheduler and the command
#SBATCH --cpus-per-task=1       # `threads` of the study
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120     # two minutes to save everything
# For GPUs:  --gpus-per-task=1, and --resources GPU=1 behind `dask worker`
set -euo pipefail

study=${1:?usage: sbatch slurm.sh STUDY.toml [OPTION…]}
shift
# source .venv/bin/activate     # or: module load …

run=$(mktemp -d "$PWD/.dask-XXXXXX") # on the disk that all nodes share
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False

dask scheduler --host "$(hostname)" --port 0 --scheduler-file "$run/scheduler.json" \
  --no-dashboard --dashboard-address 127.0.0.1:0 &
scheduler=$!
trap 'kill "$scheduler" 2>/dev/null || true; wait; rm -rf "$run"' EXIT

until [ -s "$run/scheduler.json" ]; do
  kill -0 "$scheduler"
  sleep 1
done
address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$run/scheduler.json")

srun --ntasks=$((SLURM_NTASKS - 1)) --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --exact \
  dask worker --scheduler-file "$run/scheduler.json" --nthreads 1 --memory-limit 0 --no-dashboard --dashboard-address 127.0.0.1:0 \
  --local-directory "${TMPDIR:-/tmp}" --death-timeout 60 &

ablate run "$study" --scheduler "$address" "$@" &
ablate=$!
trap 'kill -TERM "$ablate"' TERM
code=0
wait "$ablate" || code=$?
if kill -0 "$ablate" 2>/dev/null; then # the signal ended the waiting, not the command
  code=0
  wait "$ablate" || code=$?
fi
exit "$code"
