#!/bin/sh
# Seeks through three minutes of irregular pictures, encoded by the binary given with the default profile, in hls.js,
# Shaka Player and video.js, in Chromium and in Firefox where it is installed (docs/cadence.md).
#
#     tests/cadence.sh RIVULET [--profile FILE] [OPTIONS OF tests/browser/cadence.mjs]
set -eu
rivulet=$(realpath "$1")
shift
profile=
if [ "${1:-}" = --profile ]; then
    profile=$(realpath "$2")
    shift 2
fi
cd "$(dirname "$0")/.."
tests/browser/modules.sh
fixtures/make.py sparse-long
out=target/cadence
rm -rf "$out"
mkdir -p target
"$rivulet" --quiet encode fixtures/out/sparse-long.mkv ${profile:+--profile "$profile"} -o "$out"
exec node tests/browser/cadence.mjs "$@" "$out" fixtures/out/sparse-long.truth.json
