#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU can tell about this library, in two parts of under ten minutes each. It needs the archive of
# tests/publish.sh (this script runs inside it, or beside it in a source tree with artifacts/), glibc, and the CUDA libraries that come with PyTorch's wheels
# or a toolkit; no .NET, no network. The card's settings are left as they are.
#   part a   all tests on the GPU, in several processes; our rows; compute-sanitizer on tests that failed and on a short list of kernels
#   part b   our rows against the peers' (python3 with torch), in the order ours, peers, peers, ours
# What tells most comes first, and nothing that hangs takes more than a fifth of a part. Results and logs go to a folder, all of it once more into its
# results.tar.gz, what matters into its summary.txt; a part that was cut short, or called again, goes on where it ended.
# usage: bench/gpu.sh a|b [FOLDER]           FOLDER: default $OUT, else gpu-results
#        bench/gpu.sh --rehearse [short]     both parts on the emulator at tiny sizes, from the archive, in an empty environment
# environment: GPU_SECONDS (length of a part, default 570), GPU_DEVICE (cuda), GPU_SCALE (full), GPU_ROWS (regular expression), GPU_TESTS (the same, of
# tests), GPU_PARTS (processes that share the tests; half the cores, 8 at most), GPU_STATE (where the work is kept between calls with different folders: the
# folder then gets a few files only, results.tar.gz among them; default: the folder itself), PYTHON (python3)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
archive=$here/../artifacts/griffin-gpu-linux-x64.tar.xz
started=$(date +%s)
seconds=${GPU_SECONDS:-570}
device=${GPU_DEVICE:-cuda}
scale=${GPU_SCALE:-full}
python=${PYTHON:-python3}
chunk=8 # rows that ours and the peers' take turns with
keep=0  # seconds that what runs must leave to others

left() { echo $((seconds - keep - ($(date +%s) - started))); }
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
            GPU_PARTS=2 GPU_TESTS='Tests\.Kit\.|Golden' griffin-gpu/bench/gpu.sh $part out) || { echo "part $part of the rehearsal failed" >&2; exit 1; }
    done
    cd "$place/out" || exit 1
    local file
    for file in environment.json tests.log griffin.jsonl griffin.round1.jsonl griffin.round2.jsonl peers.round1.jsonl peers.round2.jsonl summary.txt results.tar.gz; do
        [ -s $file ] || { echo "the rehearsal left no $file" >&2; exit 1; }
    done
    grep -q '^[1-9][0-9]* passed, 0 failed' tests.log || { tail -5 tests.log >&2; exit 1; }
    grep -q '^[1-9][0-9]* passed, 0 failed' summary.txt && tar -tzf results.tar.gz ./griffin.round2.jsonl > /dev/null || { cat summary.txt >&2; exit 1; }
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
import importlib.metadata, json, os, platform, subprocess, sys

def run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

def version(module):  # not imported: that takes seconds
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return None

fields = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,persistence_mode,ecc.mode.current,pcie.link.gen.current"
facts = {
    "gpu": dict(zip(fields.split(","), (run("nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader") or "").split(", "))),
    "nvidia_smi": run("nvidia-smi"), "nvcc": run("nvcc", "--version"), "python": sys.version, "kernel": platform.release(), "machine": platform.machine(),
    "cpus": os.cpu_count(), "libraries": os.environ.get("GRIFFIN_LIBRARY_PATH"),
    **{name: version(name) for name in ("torch", "triton", "transformers", "jax", "nvidia-cuda-nvrtc", "nvidia-cublas")},
}
json.dump(facts, sys.stdout, indent=1)
END
}

# ours ARGUMENTS...: runs our rows; begins anew after a row that cost the device, or the process, while there is time.
ours() {
    local status=75 try
    for try in 1 2 3 4 5 6 7 8; do
        [ "$(left)" -gt 15 ] || return 0
        timeout --foreground -k 10 "$(left)" "$bin/Griffin.Bench" --device "$device" --scale "$scale" --budget "$(($(left) > 40 ? $(left) - 25 : $(left) / 2))s" \
            --row-time "$((seconds / 5 < 180 ? seconds / 5 : 180))s" "$@"
        status=$?
        [ $status -gt 2 ] || return $status
        say "our rows ended with status $status; they go on"
    done
    return $status
}

part_a() {
    local reserve=0
    environment &
    [ "$device" != cuda ] || ! command -v compute-sanitizer > /dev/null || reserve=$((seconds / 5))
    keep=$((seconds * 55 / 100))
    tests
    keep=$reserve
    save
    say "our rows"
    ours --out "$out/griffin.jsonl" ${GPU_ROWS:+--rows "$GPU_ROWS"} || failed=1
    "$bin/Griffin.Bench" report "$out/griffin.jsonl" --out "$out/report-a" || failed=1
    keep=0
    save
    sanitize_failed
    sanitizer memcheck '/(m8192_(w2560|w7680|n15360_k2560|w2560_g10)|b1_t8192_(w2560|h10|w2560_g10)|b16_(h10_c2048|h10|w2560|w2560_g10|h10_k2560|w2560_k2560|w7680_k2560|v256000|v256000_k2560)|m1024_v256000|p500000000|m1_n15360_k2560)/'
    sanitizer racecheck '^(rms_norm|rg_lru|conv_gates|recurrent_mixer|block_diagonal_gates|window_attention|decode_attention|matmul|gated_product|recurrent_step|sampler)\.[a-z_]*/(m8192_w2560(_g10)?|b1_t8192_(w2560|h10|w2560_g10)|b16_(h10_c2048|w7680_k2560|w2560_g10|v256000)|m8192_n15360_k2560)/'
    wait
}

# The tests, those first that run on the device. Each part is a process of its own: a process runs one test, and mostly compiles one kernel, at a time; and a
# fault that takes the device, or a kernel that hangs, ends the process, which is started anew behind that test.
tests() {
    local parts=$((${GPU_PARTS:-$(nproc) / 2})) part pids=() filter=()
    [ "$parts" -ge 1 ] || parts=1
    [ "$parts" -le 8 ] || parts=8
    [ -z "${GPU_TESTS:-}" ] || filter=(--filter "$GPU_TESTS")
    mkdir -p "$out/tests"
    [ ! -e "$out/tests/parts" ] || parts=$(cat "$out/tests/parts") # as they were dealt before
    echo "$parts" > "$out/tests/parts"
    say "tests, in $parts parts"
    for part in $(seq "$parts"); do
        [ -e "$out/tests/$part.done" ] || { tests_of "$part/$parts" "$out/tests/$part" "${filter[@]}" & pids+=($!); }
    done
    [ ${#pids[@]} = 0 ] || wait "${pids[@]}"
    cat "$out"/tests/*.log > "$out/tests.log"
    counted >> "$out/tests.log"
    tail -1 "$out/tests.log"
    grep -q ' passed, 0 failed, [0-9]* skipped, 0 not run' "$out/tests.log" || failed=1
}

# tests_of I/N FILE ARGUMENTS...: one part of the tests; FILE.journal, FILE.log, and FILE.done when all of it has run.
tests_of() {
    local part=$1 file=$2 status=75 try child
    shift 2
    trap 'kill $child 2> /dev/null; exit 143' TERM
    "$bin/Griffin.Kernels.Tests" --list --part "$part" "$@" > "$file.names"
    for try in 1 2 3 4 5 6 7 8; do
        [ "$(left)" -gt 5 ] || return
        timeout -k 5 "$(left)" "$bin/Griffin.Kernels.Tests" --device "$device" --part "$part" --first 'Tests\.(Runtime|Ops|Models|Training)\.' \
            --journal "$file.journal" --test-seconds 60 --verbose "$@" >> "$file.log" 2>&1 &
        child=$!
        wait $child
        status=$?
        [ $status -gt 2 ] || break
    done
    [ $status -gt 2 ] || touch "$file.done"
}

# How the tests ended, from the parts' journals.
counted() {
    cat "$out"/tests/*.names | sort -u > "$out/tests/names"
    awk -F '\t' 'FNR == NR { state[$2] = $1; next }
        { count[$1 in state ? state[$1] : ""]++ }
        END { printf "%d passed, %d failed, %d skipped, %d not run\n", count["Passed"] + count["Warning"], count["Failed"] + count["Began"],
              count["Skipped"] + count["Inconclusive"], count[""] + count["Stopped"] }' <(echo; cat "$out"/tests/*.journal 2> /dev/null) "$out/tests/names"
}

failing() { awk -F '\t' '{ state[$2] = $1 } END { for (name in state) if (state[name] == "Failed" || state[name] == "Began") print name }' "$out"/tests/*.journal 2> /dev/null | sort; }

# sanitize_failed: tests that failed, the first few, under memcheck, which names the kernel and its line of assembly.
sanitize_failed() {
    local log=$out/failed.memcheck.log name
    [ "$device" = cuda ] && command -v compute-sanitizer > /dev/null && [ ! -e "$log" ] || return
    failing | head -3 | while IFS= read -r name; do
        [ "$(left)" -gt 30 ] || break
        say "memcheck of $name" | tee -a "$log"
        timeout -k 5 $(($(left) / 3 < 40 ? $(left) / 3 : 40)) compute-sanitizer --tool memcheck --error-exitcode 9 \
            "$bin/Griffin.Kernels.Tests" --device cuda --filter "^$(sed 's/[][\\.*^$()+?{}|]/\\&/g' <<< "$name")\$" >> "$log" 2>&1 < /dev/null
    done
}

# sanitizer TOOL ROWS: the checks of some rows under a tool of compute-sanitizer.
sanitizer() {
    local log=$out/$1.log most=$(($(left) / 2))
    [ "$device" = cuda ] && command -v compute-sanitizer > /dev/null || { echo "not measured: no compute-sanitizer, or no GPU" > "$log"; return; }
    [ $most -le 90 ] || most=90
    ! grep -qs 'ERROR SUMMARY\|RACECHECK SUMMARY' "$log" && [ $most -ge 15 ] || return
    say "$1"
    timeout -k 5 $most compute-sanitizer --tool "$1" --error-exitcode 9 "$bin/Griffin.Bench" --check --device cuda --rows "$2" --budget $((most * 2 / 3))s > "$log" 2>&1 || failed=1
    tail -2 "$log"
}

part_b() {
    local ids=() group round number=0
    "$python" -c 'import torch' 2> /dev/null && has_torch=true || has_torch=false
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
    local round=$1 file=$out/peers.round$1.jsonl on=cuda id try status tiny=
    shift
    [ "$device" = cuda ] || on=cpu
    [ "$scale" != tiny ] || tiny=',"scale":"tiny"'
    if ! $has_torch; then
        for id in "$@"; do
            grep -qs "\"$id\"" "$file" || printf '{"row":"%s","peer":"torch-eager","median_us":null,"reason":"not measured: no python3 with torch"%s}\n' "$id" "$tiny" >> "$file"
        done
        return 0
    fi
    for try in 1 2 3 4 5 6 7 8; do
        [ "$(left)" -gt 20 ] || return 0
        timeout --foreground -k 10 "$(left)" "$python" "$here/peers/run.py" --device $on --scale "$scale" --budget "$(($(left) - 15))s" --attempt-seconds $((seconds / 5)) \
            --out "$file" --rows "$(IFS=,; echo "$*")"
        status=$?
        [ $status = 75 ] || return 0
        say "the peers lost the device; they go on"
    done
}

# What the results say, in few lines.
summary() {
    [ ! -e "$out/tests/parts" ] || { counted; failing | head -40 | while IFS= read -r name; do
        echo "  failed $name: $(grep -hF -A 1 -m 1 "FAILED $name" "$out"/tests/*.log | sed -n 2p | cut -c 1-200)"
    done; }
    local file
    for file in "$out"/griffin*.jsonl "$out"/peers.round*.jsonl; do
        [ -e "$file" ] || continue
        echo "$(basename "$file"): $(grep -c '"median_us": *[0-9]' "$file") results, $(grep -c '"median_us": *null' "$file") rows without"
    done
    cat "$out"/griffin*.jsonl 2> /dev/null | grep '"median_us":null' | grep -v 'no kernel of ours' | sed 's/.*"row":"\([^"]*\)".*"reason":"\([^"]*\).*/  \1: \2/' | cut -c 1-250 | sort -u | head -40
    for file in failed.memcheck memcheck racecheck; do
        [ ! -e "$out/$file.log" ] || echo "$file: $(grep 'SUMMARY\|^[0-9]* right' "$out/$file.log" | tail -2 | tr '\n' ' ')"
    done
}

# All that is done in one file, and what matters beside it.
save() {
    summary > "$out/summary.txt"
    local part packed
    packed=$(mktemp) && tar -C "$out" --exclude=./results.tar.gz -czf "$packed" . && mv "$packed" "$place/results.tar.gz" && chmod 644 "$place/results.tar.gz"
    [ "$place" != "$out" ] || return
    cp "$out/summary.txt" "$out/environment.json" "$place/" 2> /dev/null
    for part in a b; do cat "$out/report-$part"/*.md > "$place/report-$part.md" 2> /dev/null || rm -f "$place/report-$part.md"; done
}

case "${1:-}" in
    --rehearse) rehearse "${2:-}"; exit ;;
    a | b) ;;
    *) sed -n '/^# usage/,/^# environment/p' "$0" >&2; exit 2 ;;
esac
place=${2:-${OUT:-gpu-results}}
mkdir -p "$place" && place=$(cd "$place" && pwd) || exit 1
out=${GPU_STATE:-$place}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
trap 'kill $(jobs -p) 2> /dev/null; wait; save' EXIT
trap 'exit 143' TERM INT
failed=0
programs
GRIFFIN_LIBRARY_PATH=${GRIFFIN_LIBRARY_PATH:-$(libraries)}
export GRIFFIN_LIBRARY_PATH GRIFFIN_CACHE=${GRIFFIN_CACHE:-$bin/../cache}
[ "$1" = a ] || environment
"part_$1"
say "part $1 took $(($(date +%s) - started)) s"
save
cat "$out/summary.txt"
exit $failed
