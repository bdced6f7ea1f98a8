# Sourced by dist_train.sh and dist_test.sh.

launch() {  # launch PROCESSES SCRIPT ARGUMENTS...
    local python=${PYTHON:-python} nodes=${NNODES:-1} port threads machine
    machine=$(dirname "${BASH_SOURCE[0]}")/../cxrdet/core/machine.py
    read -r port threads < <("$python" - "$1" "$machine" <<'END'
import runpy
import socket
import sys
cores = runpy.run_path(sys.argv[2])['usable_cpus']()
probe = socket.socket()
probe.bind(('', 0))
print(probe.getsockname()[1], max(1, cores // int(sys.argv[1])))
END
    )
    if [[ $nodes != 1 ]]; then port=29500; fi
    if [[ $nodes == 1 ]]; then export CXRDET_RUN_TIME=${CXRDET_RUN_TIME:-$(date +%Y%m%d_%H%M%S)}; fi  # --run-name auto
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}  # torch's launcher would set 1
    exec "$python" "$(dirname "${BASH_SOURCE[0]}")/launch.py" --nnodes="$nodes" --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-$port}" --nproc_per_node="$1" \
        "${@:2}" --launcher pytorch
}
