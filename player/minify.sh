#!/bin/sh
# Makes player/min/ from the sources beside it: what learners are sent. Names become short, comments and blanks go; nothing that a
# script says or asks for changes. Each file begins with the digest of its sources, and a test compares them.
set -eu
cd "$(dirname "$0")"
../tests/browser/modules.sh
mkdir -p min
terser() { ../tests/browser/node_modules/.bin/terser --ecma 2020 --compress passes=2 --mangle; }
made() { # NAME SOURCE...
    name=$1
    shift
    digest=$(cat "$@" | sha256sum | cut -d' ' -f1)
    { echo "// Made by player/minify.sh from $*, sha256 $digest"; cat; echo; } >"min/$name.part"
    mv "min/$name.part" "min/$name"
}
terser <first.js | made first.js first.js
terser <loader.js | made loader.js loader.js
terser <sw.js | made sw.js sw.js
# Order matters: each file uses what stands above it.
app="app/core.js app/tongue.js app/kept.js app/keeping.js app/slides.js app/controls.js app/video.js app/captions.js app/search.js app/lists.js"
{ echo '(function(){"use strict";'; cat $app; echo '})();'; } | terser | made app.js $app
