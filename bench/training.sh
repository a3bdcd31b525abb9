#!/usr/bin/env bash
# A training step of models/austen-tiny's shape, ours and eager PyTorch's, one after the other on this machine: one JSON line a row.
# Needs a Release build (dotnet build -c Release); PyTorch rows need python3 with torch ($PYTHON chooses the interpreter), else they say so.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=bench/Griffin.Bench/bin/Release/net10.0/Griffin.Bench
[ -x "$bench" ] || { echo "bench/training.sh: $bench is missing: run dotnet build -c Release Griffin.Kernels.sln first" >&2; exit 1; }
python=${PYTHON:-python3}
"$bench" training-step "$@"
"$bench" training-step recompute types=bfloat16 "$@"
if "$python" -c 'import torch' 2> /dev/null; then
    "$python" bench/peers/training_step.py --threads "$(nproc)"
else
    echo '{"row":"training_step","peer":"pytorch-eager","seconds":null,"reason":"not measured: no python3 with torch"}'
fi
