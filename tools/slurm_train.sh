#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (at most 8), CPUS_PER_TASK (5), SRUN_ARGS (further arguments of srun),
# MASTER_PORT (29500), PYTHON (python). Without a GPU: GPUS_PER_NODE=0 TASKS_PER_NODE=n GPUS=n processes on the CPU.
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2
    exit 2
fi
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
TASKS_PER_NODE=${TASKS_PER_NODE:-$GPUS_PER_NODE}
GRES=()
if [[ $GPUS_PER_NODE != 0 ]]; then GRES=(--gres="gpu:$GPUS_PER_NODE"); fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CXRDET_RUN_TIME=${CXRDET_RUN_TIME:-$(date +%Y%m%d_%H%M%S)}  # one folder for all processes: --run-name auto
# shellcheck disable=SC2086  # SRUN_ARGS holds several words
exec srun -p "$1" --job-name="$2" "${GRES[@]}" --ntasks="$GPUS" --ntasks-per-node="$TASKS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/train.py" "$3" --work-dir "$4" "${@:5}" --launcher slurm
