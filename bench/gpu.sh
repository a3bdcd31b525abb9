#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU can tell about this library, in two parts of under ten minutes each. It needs the archive of
# tests/publish.sh (this script runs inside it, or beside it in a source tree with artifacts/), glibc, and the CUDA libraries that come with PyTorch's wheels
# or a toolkit; no .NET, no network. The card's settings are left as they are.
#   part a   all tests on the GPU, compute-sanitizer on a short list, our rows
#   part b   our rows against the peers' (python3 with torch), in the order ours, peers, peers, ours
# Results and logs go to a folder; a part that was cut short, or called again, goes on where it ended.
# usage: bench/gpu.sh a|b [FOLDER]           FOLDER: default $OUT, else gpu-results
#        bench/gpu.sh --rehearse [short]     both parts on the emulator at tiny sizes, from the archive, in an empty environment
# environment: GPU_SECONDS (length of a part, default 570), GPU_DEVICE (cuda), GPU_SCALE (full), GPU_ROWS (regular expression), GPU_TESTS (the same, of
# tests), GPU_STATE (where what is done is remembered between calls with different folders; default: the folder itself), PYTHON (python3)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
archive=$here/../artifacts/griffin-gpu-linux-x64.tar.xz
started=$(date +%s)
seconds=${GPU_SECONDS:-570}
device=${GPU_DEVICE:-cuda}
scale=${GPU_SCALE:-full}
python=${PYTHON:-python3}
chunk=8 # rows that ours and the peers' take turns with

left() { echo $((seconds - ($(date +%s) - started))); }
say() { echo "== $(date -u +%T) $*"; }

rehearse() {
    [ -e "$archive" ] || { echo "bench/gpu.sh: $archive is missing: run tests/publish.sh first" >&2; exit 1; }
    local rows='^(rms_norm\.forward/m8192_w2560|rg_lru\.(forward|backward)/b1_t8192_w2560|matmul\.forward/m1_n15360|decode\.step/2b_b1_|linear_scan\.forward/b1)' time=300
    [ "$1" != short ] || { rows='^(rms_norm\.forward|rg_lru\.forward|matmul\.forward|decode\.step|linear_scan\.forward)/(m8192_w2560|b1_t8192_w2560|m1_n15360_k2560|2b_b1)'; time=150; }
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    tar -C "$place" -xf "$archive"
    mkdir "$place/home"
    for part in a b; do
        (cd "$place" && env -i PATH=/usr/bin:/bin HOME="$place/home" GPU_SECONDS=$time GPU_DEVICE=emulator GPU_SCALE=tiny GPU_ROWS="$rows" \
            GPU_TESTS='Tests\.Kit\.|Golden' griffin-gpu/bench/gpu.sh $part out) || { echo "part $part of the rehearsal failed" >&2; exit 1; }
    done
    cd "$place/out" || exit 1
    local file
    for file in environment.json tests.log griffin.jsonl griffin.round1.jsonl griffin.round2.jsonl peers.round1.jsonl peers.round2.jsonl; do
        [ -s $file ] || { echo "the rehearsal left no $file" >&2; exit 1; }
    done
    grep -q '^[1-9][0-9]* passed, 0 failed' tests.log || { tail -5 tests.log >&2; exit 1; }
    ! grep -h '"peer":"griffin".*"median_us":null' griffin*.jsonl | grep -v '"row":"linear_scan' || { echo "a row of ours was not measured" >&2; exit 1; }
    ls report-a/*.md report-b/*.md > /dev/null || exit 1
    echo "rehearsed: $(tail -1 tests.log); $(cat griffin*.jsonl | wc -l) lines of ours, $(cat peers.round*.jsonl | wc -l) of the peers'"
}

# Where the programs are: beside this script, or unpacked from the archive once.
programs() {
    bin=$here/../bin
    [ -x "$bin/Griffin.Bench" ] && return
    [ -e "$archive" ] || { echo "bench/gpu.sh: neither ../bin/Griffin.Bench nor $archive is here" >&2; exit 1; }
    local folder=$here/../artifacts/gpu
    if [ ! "$folder/unpacked" -nt "$archive" ]; then
        rm -rf "$folder"
        mkdir -p "$folder" && tar -C "$folder" -xf "$archive" && touch "$folder/unpacked" || exit 1
    fi
    bin=$folder/griffin-gpu/bin
}

# Folders of the CUDA libraries among Python's packages, and a toolkit's.
libraries() {
    "$python" - 2> /dev/null << 'END' || true
import glob, os, sys
print(":".join(sorted({folder for path in sys.path if path for folder in glob.glob(os.path.join(path, "nvidia", "*", "lib"))} | set(glob.glob("/usr/local/cuda/lib64")))))
END
}

environment() {
    "$python" - << 'END' > "$out/environment.json" 2> /dev/null || printf '{"python": null, "kernel": "%s"}\n' "$(uname -r)" > "$out/environment.json"
import json, os, platform, subprocess, sys

def run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

def version(module):
    try:
        return __import__(module).__version__
    except Exception:
        return None

fields = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,persistence_mode,ecc.mode.current,pcie.link.gen.current"
facts = {
    "gpu": dict(zip(fields.split(","), (run("nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader") or "").split(", "))),
    "nvidia_smi": run("nvidia-smi"), "nvcc": run("nvcc", "--version"), "python": sys.version, "kernel": platform.release(), "machine": platform.machine(),
    "cpus": os.cpu_count(), "libraries": os.environ.get("GRIFFIN_LIBRARY_PATH"), **{name: version(name) for name in ("torch", "triton", "transformers", "jax")},
}
try:
    import torch
    facts["cuda_of_torch"] = torch.version.cuda
except Exception:
    pass
json.dump(facts, sys.stdout, indent=1)
END
}

# ours ARGUMENTS...: runs our rows; begins anew after a row that cost the device, or the process, while there is time.
ours() {
    local status=75 try
    for try in 1 2 3 4 5 6 7 8; do
        [ "$(left)" -gt 15 ] || return 0
        timeout --foreground -k 10 "$(left)" "$bin/Griffin.Bench" --device "$device" --scale "$scale" --budget "$(($(left) > 40 ? $(left) - 25 : $(left) / 2))s" "$@"
        status=$?
        [ $status -gt 2 ] || return $status
        say "our rows ended with status $status; they go on"
    done
    return $status
}

part_a() {
    if ! grep -qs '^[0-9]* passed, ' "$out/tests.log"; then
        say "tests"
        local filter=()
        [ -z "${GPU_TESTS:-}" ] || filter=(--filter "$GPU_TESTS")
        timeout --foreground -k 10 $((seconds / 2)) "$bin/Griffin.Kernels.Tests" --device "$device" --verbose "${filter[@]}" > "$out/tests.log" 2>&1 || failed=1
        grep -E '^FAILED|passed, ' "$out/tests.log"
    fi
    sanitizer memcheck '/(m8192_(w2560|w7680|n15360_k2560|w2560_g10)|b1_t8192_(w2560|h10|w2560_g10)|b16_(h10_c2048|h10|w2560|w2560_g10|h10_k2560|w2560_k2560|w7680_k2560|v256000|v256000_k2560)|m1024_v256000|p500000000|m1_n15360_k2560)/'
    sanitizer racecheck '^(rms_norm|rg_lru|conv_gates|recurrent_mixer|block_diagonal_gates|window_attention|decode_attention|matmul|gated_product|recurrent_step|sampler)\.[a-z_]*/(m8192_w2560(_g10)?|b1_t8192_(w2560|h10|w2560_g10)|b16_(h10_c2048|w7680_k2560|w2560_g10|v256000)|m8192_n15360_k2560)/'
    say "our rows"
    ours --out "$out/griffin.jsonl" ${GPU_ROWS:+--rows "$GPU_ROWS"} || failed=1
    "$bin/Griffin.Bench" report "$out/griffin.jsonl" --out "$out/report-a" || failed=1
}

# sanitizer TOOL ROWS: the checks of some rows under a tool of compute-sanitizer.
sanitizer() {
    local log=$out/$1.log
    [ "$device" = cuda ] && command -v compute-sanitizer > /dev/null || { echo "not measured: no compute-sanitizer, or no GPU" > "$log"; return; }
    ! grep -qs 'ERROR SUMMARY\|RACECHECK SUMMARY' "$log" && [ "$(left)" -gt 150 ] || return
    say "$1"
    timeout -k 10 90 compute-sanitizer --tool "$1" --target-processes all --error-exitcode 9 "$bin/Griffin.Bench" --check --device cuda --rows "$2" --budget 60s > "$log" 2>&1 || failed=1
    tail -2 "$log"
}

part_b() {
    local ids=() group round number=0
    mapfile -t ids < <("$bin/Griffin.Bench" --list ${GPU_ROWS:+--rows "$GPU_ROWS"} | grep -v '^ceiling\.\|^cost\.\|^throughput\.')
    while [ $((number * chunk)) -lt ${#ids[@]} ] && [ "$(left)" -gt 30 ]; do
        group=("${ids[@]:$((number * chunk)):$chunk}")
        number=$((number + 1))
        [ ! -e "$out/chunk$number.done" ] || continue
        say "rows $(((number - 1) * chunk + 1)) to $(((number - 1) * chunk + ${#group[@]})) of ${#ids[@]}"
        for round in 1 2; do
            if [ $round = 1 ]; then ours_of $round "${group[@]}" && peers_of $round "${group[@]}"; else peers_of $round "${group[@]}" && ours_of $round "${group[@]}"; fi
        done
        [ "$(left)" -le 30 ] || touch "$out/chunk$number.done"
        save
    done
    "$bin/Griffin.Bench" report "$out"/griffin.round*.jsonl "$out"/peers.round*.jsonl --out "$out/report-b" || failed=1
}

ours_of() {
    local round=$1
    shift
    ours --out "$out/griffin.round$round.jsonl" --round "$round" --rows "^($(IFS='|'; echo "$*"))\$" || failed=1
}

peers_of() {
    local round=$1 file=$out/peers.round$1.jsonl on=cuda id
    shift
    [ "$device" = cuda ] || on=cpu
    if ! "$python" -c 'import torch' 2> /dev/null; then
        for id in "$@"; do
            grep -qs "\"$id\"" "$file" || printf '{"row":"%s","peer":"torch-eager","median_us":null,"reason":"not measured: no python3 with torch"}\n' "$id" >> "$file"
        done
        return 0
    fi
    [ "$(left)" -gt 20 ] || return 0
    timeout --foreground -k 10 "$(left)" "$python" "$here/peers/run.py" --device $on --scale "$scale" --budget "$(($(left) - 15))s" --out "$file" --rows "$(IFS=,; echo "$*")" || say "the peers ended with status $?"
}

# What is done survives in the state folder, if that is another one: results folders may be new in every call.
save() { [ "$state" = "$out" ] || cp -r "$out/." "$state/"; }

case "${1:-}" in
    --rehearse) rehearse "${2:-}"; exit ;;
    a | b) ;;
    *) sed -n '/^# usage/,/^# environment/p' "$0" >&2; exit 2 ;;
esac
out=${2:-${OUT:-gpu-results}}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
state=${GPU_STATE:-$out}
mkdir -p "$state" && state=$(cd "$state" && pwd) || exit 1
[ "$state" = "$out" ] || cp -r "$state/." "$out/"
trap save EXIT
trap 'exit 143' TERM INT
failed=0
programs
GRIFFIN_LIBRARY_PATH=${GRIFFIN_LIBRARY_PATH:-$(libraries)}
export GRIFFIN_LIBRARY_PATH GRIFFIN_CACHE=${GRIFFIN_CACHE:-$bin/../cache}
environment
"part_$1"
say "part $1 took $(($(date +%s) - started)) s"
exit $failed
