#!/bin/sh
# Installs what package-lock.json names, if that is not what is there; no scripts of packages are run.
set -eu
cd "$(dirname "$0")"
for name in axe-core playwright-core shaka-player terser video.js; do
    wanted=$(node -p 'require("./package.json").dependencies[process.argv[1]]' "$name")
    found=$(node -p 'require(`./node_modules/${process.argv[1]}/package.json`).version' "$name" 2>/dev/null) || found=none
    [ "$wanted" = "$found" ] || exec npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
done
