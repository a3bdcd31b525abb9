#!/usr/bin/env bash
# The emulator's speed as a user meets it, on this machine: one JSON line a row. Needs a Release build (dotnet build -c Release).
#   first_token_cold_s   whole process, empty kernel cache: all kernels compiled by the host compiler, to the first token
#   first_token_warm_s   the same with the cache filled: median of five
#   decode_tokens_per_s  batch 1, 200 tokens of austen-tiny: best of five
#   score_tokens_per_s   context 256 over the first 65,536 bytes of a text (an argument; default: the tests' copy): best of three
# usage: bench/emulator.sh [TEXT]
#        bench/emulator.sh --large [DIR]   decoding of a RecurrentGemma-2B-shaped model beside the speed at which this machine reads memory. The random
#                                          checkpoint (5.4 GB; 12 GB of memory to run) is made in DIR if it is not there, or in a folder of its own
set -euo pipefail
cd "$(dirname "$0")/.."
griffin=managed/Griffin.Cli/bin/Release/net10.0/griffin
bench=bench/Griffin.Bench/bin/Release/net10.0/Griffin.Bench
for program in "$griffin" "$bench"; do
    [ -x "$program" ] || { echo "bench/emulator.sh: $program is missing: run dotnet build -c Release Griffin.Kernels.sln first" >&2; exit 1; }
done
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
row() { printf '{"row":"%s","precision":"%s","value":%s,"cpu":"%s","cores":%s}\n' "$1" "$2" "$3" "$cpu" "$(nproc)"; }
generate() { "$griffin" generate --device emulator --precision "$1" --prompt "It was a truth" --max-tokens "$2" --json 2> /dev/null; }
number() { sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p"; }
seconds() { local start end; start=$(date +%s.%N); "$@" > /dev/null; end=$(date +%s.%N); awk "BEGIN { printf \"%.2f\\n\", $end - $start }"; }

# Reads of memory before and after each run of decode steps, whose bytes are the weights': a shared machine's speed moves within a run.
large() {
    local folder=${1:-$cache/2b} weights=5365724160 before after step
    [ -e "$folder/config.json" ] || "$griffin" init --size recurrentgemma-2b --output "$folder" > /dev/null
    before=$("$bench" read-bandwidth)
    for _ in 1 2 3; do
        step=$("$griffin" generate --device emulator --model "$folder" --tokens 2,5,7 --max-tokens 40 --json 2> /dev/null | number ms_per_token)
        after=$("$bench" read-bandwidth)
        row read_gb_per_s bytes "$(awk "BEGIN { printf \"%.2f\", ($before + $after) / 2 }")"
        row decode_2b_ms_per_token bfloat16 "$step"
        row decode_2b_percent_of_read bfloat16 "$(awk "BEGIN { printf \"%.1f\", $weights / $step / 1e4 / (($before + $after) / 2) }")"
        before=$after
    done
}

if [ "${1:-}" = --large ]; then
    large "${2:-}"
    exit
fi
text=${1:-tests/Griffin.Kernels.Tests/Data/persuasion-65536.txt}
for precision in bfloat16 float32; do
    export GRIFFIN_CACHE=$cache/$precision
    row first_token_cold_s $precision "$(seconds generate $precision 1)"
    row first_token_warm_s $precision "$(for _ in 1 2 3 4 5; do seconds generate $precision 1; done | sort -n | sed -n 3p)"
    row decode_tokens_per_s $precision "$(for _ in 1 2 3 4 5; do generate $precision 200 | number ms_per_token; done | sort -n | awk 'NR == 1 { printf "%.0f", 1000 / $1 }')"
    row score_tokens_per_s $precision "$(for _ in 1 2 3; do
        "$griffin" score --device emulator --precision $precision --text "$text" --bytes 65536 --context 256 --json 2> /dev/null | number tokens_per_second
    done | sort -n | tail -1)"
done
