#!/usr/bin/env bash
# Publishes the test runner and the benchmarks, self-contained, into one folder (emulator, reference data, rows and the peers' scripts included) and packs
# it into artifacts/griffin-gpu-linux-x64.tar.xz, at most 45 MiB, for machines that have a GPU but no .NET and no network. There:
#   tar xf griffin-gpu-linux-x64.tar.xz && griffin-gpu/bench/gpu.sh a results && griffin-gpu/bench/gpu.sh b results
# or by hand: griffin-gpu/bin/Griffin.Kernels.Tests --device cuda, griffin-gpu/bin/Griffin.Bench --help
# The programs need glibc and libstdc++ only; --device emulator also needs a C++ compiler on the path.
# usage: tests/publish.sh [--rehearse]    --rehearse runs a short bench/gpu.sh --rehearse afterwards
set -euo pipefail
cd "$(dirname "$0")/.."
artifacts=$PWD/artifacts
archive=$artifacts/griffin-gpu-linux-x64.tar.xz
folder=$artifacts/publish/griffin-gpu
limit=$((45 * 1024 * 1024))

rm -rf "$artifacts/publish"
# Both into one folder: they share the runtime and the library.
for project in tests/Griffin.Kernels.Tests bench/Griffin.Bench; do
    dotnet publish -c Release $project -p:PublishProfile=SelfContained -o "$folder/bin" -v quiet
done
mkdir -p "$folder/bench/peers"
cp bench/gpu.sh bench/rows.json "$folder/bench"
cp bench/peers/*.py "$folder/bench/peers"
cp bench/inputs.golden.tsv "$folder/bench"
tar -C "$artifacts/publish" -cf - griffin-gpu | xz -T0 -6 > "$archive"
size=$(stat -c %s "$archive")
echo "$archive: $size bytes"
[ "$size" -le "$limit" ] || { echo "over the limit of $limit bytes" >&2; exit 1; }

[ "${1:-}" != --rehearse ] || bench/gpu.sh --rehearse short
