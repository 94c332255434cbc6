#!/bin/sh
# All tests: cargo's, then the browser's: packages of three fixtures, made by the binary that was just tested, checked,
# decoded by ffmpeg and played in Chromium, lip sync included. And two broken ones, which must be refused.
set -eu
cd "$(dirname "$0")/.."
${CARGO:-cargo} test --locked --no-fail-fast
tests/corpus.py target/debug/rivulet fixtures/out --only 'flash-click.mp4,odd-vfr.mkv,odd-audio-only.m4a,broken-no-moov.mp4,broken-text.mp4' --out target/browser
