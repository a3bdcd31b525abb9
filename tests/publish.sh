#!/usr/bin/env bash
# Publishes the tests as one self-contained folder (emulator and reference data included) and packs it into
# artifacts/griffin-tests-linux-x64.tar.xz, at most 45 MiB, for machines that have a GPU but no .NET. There:
#   tar xf griffin-tests-linux-x64.tar.xz && griffin-tests/Griffin.Kernels.Tests --device cuda
# The runner needs glibc and libstdc++ only; --device emulator also needs a C++ compiler on the path.
# usage: tests/publish.sh [--rehearse]    --rehearse unpacks it into an empty folder and runs part of it in an empty environment
set -euo pipefail
cd "$(dirname "$0")/.."
artifacts=$PWD/artifacts
archive=$artifacts/griffin-tests-linux-x64.tar.xz
limit=$((45 * 1024 * 1024))

rm -rf "$artifacts/publish"
dotnet publish -c Release tests/Griffin.Kernels.Tests -p:PublishProfile=SelfContained -o "$artifacts/publish/griffin-tests" -v quiet
tar -C "$artifacts/publish" -cf - griffin-tests | xz -T0 -6 > "$archive"
size=$(stat -c %s "$archive")
echo "$archive: $size bytes"
[ "$size" -le "$limit" ] || { echo "over the limit of $limit bytes" >&2; exit 1; }

if [ "${1:-}" = --rehearse ]; then
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    tar -C "$place" -xf "$archive"
    mkdir "$place/home"
    cd "$place"
    env -i PATH=/usr/bin:/bin HOME="$place/home" griffin-tests/Griffin.Kernels.Tests --device emulator --filter 'Tests\.Kit\.' --filter 'Golden'
fi
