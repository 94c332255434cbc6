#!/bin/sh
# Proves that the vendored player is the published one: fetches hls.js with npm, checks the archive against the
# integrity hash written here (`npm view hls.js@1.7.4 dist.integrity`) and against the one that the registry names now,
# and compares the files byte for byte. `--update` writes them instead of comparing.
set -eu

package=hls.js
version=1.7.4
integrity=sha512-3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg==

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "error: $*" >&2
    exit 1
}

said=$(npm view "$package@$version" dist.integrity 2>"$work/npm.log") || fail "npm does not answer: $(cat "$work/npm.log")"
[ "$said" = "$integrity" ] || fail "the registry names another hash for $package $version: $said"

(cd "$work" && npm pack --silent "$package@$version" >/dev/null) || fail "npm pack $package@$version failed"
archive="$work/$package-$version.tgz"
got="sha512-$(openssl dgst -sha512 -binary "$archive" | base64 | tr -d '\n')"
[ "$got" = "$integrity" ] || fail "the archive has another hash: $got"
tar -xzf "$archive" -C "$work" package/dist/hls.min.js package/LICENSE

if [ "${1:-}" = --update ]; then
    cp "$work/package/dist/hls.min.js" "$here/hls.min.js"
    cp "$work/package/LICENSE" "$here/hls.js-LICENSE"
fi
cmp "$work/package/dist/hls.min.js" "$here/hls.min.js" || fail "player/vendor/hls.min.js is not that of $package $version"
cmp "$work/package/LICENSE" "$here/hls.js-LICENSE" || fail "player/vendor/hls.js-LICENSE is not that of $package $version"
echo "player/vendor: $package $version, as published ($integrity)"
