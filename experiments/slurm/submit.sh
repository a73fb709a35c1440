#!/bin/bash
# Submit experiments to Slurm: their cells in SHARES shares, then the tables and the report.
#
#   SUITE=open CLIR_HOME=/shared/artifacts experiments/slurm/submit.sh 8 optical --mirror /shared/mirror
#
# SBATCH_OPTIONS holds options for every sbatch: "--partition=gpu --gres=gpu:1".
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [[ $# -lt 2 || ! "$1" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: [SUITE=...] [CLIR_HOME=...] submit.sh SHARES NAME... [options of clir reproduce]" >&2
  exit 2
fi
shares="$1"
shift
read -r -a options <<< "${SBATCH_OPTIONS:-}"
options+=(--parsable)

# Report errors in an experiment now, not after a night in the queue.
clir reproduce "$@" --suite "${SUITE:-sample}" --dry-run > /dev/null
job="$(sbatch "${options[@]}" --array="1-$shares" "$here/clir-array.sbatch" "$@")"
job="${job%%;*}"  # with several clusters, the name follows
last="$(sbatch "${options[@]}" --dependency="afterany:$job" "$here/clir-collect.sbatch" "$@")"
echo "cells: job $job, shares 1 to $shares; tables and report: job ${last%%;*}"
