#!/bin/sh
# The S3 store against services that other people wrote: moto's server, and Garage, which ignores conditional writes (a `garage` on
# PATH; else it is built from crates.io, once, into target/garage, which takes a while, and where that fails so does this test;
# RIVULET_NO_GARAGE=1 goes without it, and says so first and last). Each gets the contract
# suite and a whole course: published, published again, corrected, rolled back, checked, served; and one with an object of 60 MB
# whose publisher is killed in the middle of it. Before, tests/bucket.rs with its full number of kills. RIVULET names another
# binary than the debug build.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
work=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT INT TERM
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=testtest AWS_REGION=us-east-1 RIVULET_WORK="$work/work"
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE 2>/dev/null || true
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

without_garage() {
    echo "s3.sh: ****************************************************************************" >&2
    echo "s3.sh: RIVULET_NO_GARAGE=1: Garage, a service without conditional writes, is NOT TESTED" >&2
    echo "s3.sh: ****************************************************************************" >&2
}
PATH="$PWD/target/garage/bin:$PATH"
if [ "${RIVULET_NO_GARAGE:-}" = 1 ]; then
    without_garage
elif ! command -v garage > /dev/null; then
    # Before the other tests: whether it can be built is known first.
    echo "s3.sh: no garage on PATH: building it into target/garage" >&2
    $cargo install garage --locked --root target/garage || {
        echo "s3.sh: Garage cannot be built; RIVULET_NO_GARAGE=1 tests without it" >&2
        exit 1
    }
fi

RIVULET_KILLS=50 $cargo test --locked --test bucket
RIVULET_FAULTS=all $cargo test --locked --lib any_fault_of_any_request -- --ignored
rivulet=${RIVULET:-target/debug/rivulet}

# A free port of this machine.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Waits until something answers there.
up() {
    python3 - "$1" <<'P'
import socket, sys, time
end = time.monotonic() + 60
while True:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        if time.monotonic() > end:
            sys.exit("s3.sh: nothing answers on port " + sys.argv[1])
        time.sleep(0.1)
P
}
fail() { echo "s3.sh: $1: $2" >&2; exit 1; }

# kill -9 when three parts of an object of 60 MB have been acknowledged: the next run sends the rest, and none of those again. `$1` is the service's name, `$2` its log of requests.
killed() {
    echo "s3.sh: $1: kill -9 in the middle of a large object" >&2
    big="$work/$1-big"
    mkdir -p "$big"
    cp fixtures/out/flash-click.mp4 "$big/"
    head -c 60000000 /dev/urandom > "$big/h.pdf"
    cat > "$big/course.toml" <<C
id = "big"
title = "Big"
language = "vi"
[[lectures]]
id = "one"
title = "One"
recording = "flash-click.mp4"
handout = "h.pdf"
C
    $rivulet --json publish "$big/course.toml" --to "$work/$1-local" > "$work/encoded"
    $rivulet --json publish "$big/course.toml" --to "s3://lectures/$1-big" --uplink 40M > "$work/killed" 2>&1 &
    publisher=$!
    pids="$pids $publisher"
    python3 - "$RIVULET_WORK" <<'P'
import glob, json, sys, time
end = time.monotonic() + 300
while sum(len(json.load(open(p))["parts"]) for p in glob.glob(sys.argv[1] + "/uploads/*/upload.json")) < 3:
    if time.monotonic() > end:
        sys.exit("s3.sh: no three parts in five minutes")
    time.sleep(0.05)
P
    kill -9 "$publisher"
    wait "$publisher" || true
    cat "$RIVULET_WORK"/uploads/*/upload.json > "$work/noted"
    $rivulet --json publish "$big/course.toml" --to "s3://lectures/$1-big" > "$work/after"
    grep -o '[0-9]* of 12 parts were sent before' "$work/after" >&2 || fail "$1" "the upload began again: $(cat "$work/after")"
    python3 - "$2" "$1" "$work/noted" <<'P'
import collections, json, re, sys
# Garage names the request again where its sender has gone.
asked = [line for line in open(sys.argv[1], errors="replace") if " in response to " not in line]
found = re.findall(r"PUT (\S+/" + sys.argv[2] + r"-big/\S+\?\S*)", "".join(asked))
parts = collections.Counter(m[1] for line in found if (m := re.search(r"partNumber=(\d+)", line)))
twice = sorted(int(n) for n, times in parts.items() if times > 1)
noted = sorted(int(n) for n in json.load(open(sys.argv[3]))["parts"])
print(f"s3.sh: {sys.argv[2]}: {len(parts)} parts; acknowledged before the kill: {noted}; sent twice: {twice}", file=sys.stderr)
# What was under way is sent again, one part per connection (tests/bucket.rs counts those); nothing that was acknowledged is.
assert len(parts) == 12 and max(parts.values()) <= 2 and not set(twice) & set(noted), parts
P
}

# One service: its name, its log of requests, and AWS_ENDPOINT_URL set; the bucket is there.
try() {
    echo "s3.sh: $1: contract suite" >&2
    RIVULET_TEST_S3=s3://lectures $cargo test --locked --lib a_bucket_of_a_real_service -- --nocapture > "$work/contract" 2>&1 || {
        cat "$work/contract" >&2
        fail "$1" "the contract is not kept"
    }
    grep -E 'conditions are|test result' "$work/contract" >&2
    grep -q 'conditions are' "$work/contract" || fail "$1" "the contract suite did not run"
    store=s3://lectures/course-$1
    course="$work/$1"
    mkdir -p "$course"
    cp fixtures/out/lecture.mp4 "$course/"
    cat > "$course/course.toml" <<C
id = "demo"
title = { vi = "Bài giảng thử" }
language = "vi"
[[lectures]]
id = "one"
title = { vi = "Bài một" }
recording = "lecture.mp4"
C
    echo "s3.sh: $1: publish" >&2
    $rivulet --json publish "$course/course.toml" --to "$store" > "$work/1.json"
    $rivulet --json publish "$course/course.toml" --to "$store" > "$work/2.json"
    grep '"type":"published"' "$work/2.json" | grep -q '"objects_sent":0' || fail "$1" "an unchanged course was sent again"
    sed -i 's/Bài một/Bài thứ nhất/' "$course/course.toml"
    $rivulet --json publish "$course/course.toml" --to "$store" > "$work/3.json"
    grep -q '"release":2' "$work/3.json" || fail "$1" "a correction made no release"
    $rivulet releases "$store" demo
    $rivulet diff "$store" demo 1 | grep -q 'edited: one' || fail "$1" "no difference between the releases"
    $rivulet rollback "$store" demo
    $rivulet --json check "$store" > "$work/check.json" 2>"$work/check.err" || true
    grep -q '"rule":"store"' "$work/check.json" && { cat "$work/check.json"; fail "$1" "the store is not what it says"; }
    echo "s3.sh: $1: serve" >&2
    $rivulet serve "$store" --listen 127.0.0.1:0 > "$work/serve" 2>/dev/null &
    server=$!
    pids="$pids $server"
    python3 - "$work/serve" <<'P'
import re, sys, time, urllib.request
for _ in range(300):
    url = open(sys.argv[1]).readline().strip()
    if url:
        break
    time.sleep(0.1)
get = lambda path, **headers: urllib.request.urlopen(urllib.request.Request(url + path, headers=headers))
assert "Bài một" in get("demo/index.html").read().decode(), "the page of the release that was rolled back to"
master = get("demo/one.m3u8").read().decode()
media = re.search(r"\.\./(blobs/\S+\.m3u8)", master).group(1)
film = re.search(r"\.\./(\S+\.mp4)", get(media).read().decode()).group(1)
part = get("blobs/" + film, Range="bytes=0-99")
assert part.status == 206 and len(part.read()) == 100
P
    kill "$server"
    echo "s3.sh: $1: check --repair, prune, withdraw" >&2
    # That the bucket is private is a finding, too.
    $rivulet --json check "$store" --repair > "$work/repair" 2>&1 || true
    grep -q '"type":"summary"' "$work/repair" || { cat "$work/repair" >&2; fail "$1" "check --repair did not end"; }
    grep -q '"rule":"store"' "$work/repair" && { cat "$work/repair" >&2; fail "$1" "there was something to repair"; }
    $rivulet --json prune "$store" --keep 1 > "$work/prune.json"
    grep -q '"releases":{}' "$work/prune.json" || fail "$1" "the current release or the newest was pruned: $(cat "$work/prune.json")"
    $rivulet --json withdraw "$store" demo one > "$work/withdraw.json"
    grep -q '"deleted":\["blobs/' "$work/withdraw.json" || fail "$1" "nothing was deleted: $(cat "$work/withdraw.json")"
    if $rivulet --json publish "$course/course.toml" --to "$store" > "$work/4.json" 2>&1; then fail "$1" "what was withdrawn came back"; fi
    grep -q -- '--restore one' "$work/4.json" || fail "$1" "not told how to bring it back: $(cat "$work/4.json")"
    killed "$1" "$2"
    echo "s3.sh: $1: ok" >&2
}

if [ ! -x target/moto/bin/moto_server ]; then
    python3 -m venv target/moto && target/moto/bin/pip install --quiet 'moto[server]'
fi
p=$(port)
target/moto/bin/moto_server -H 127.0.0.1 -p "$p" > "$work/moto.log" 2>&1 &
pids="$pids $!"
up "$p"
export AWS_ENDPOINT_URL="http://127.0.0.1:$p"
python3 -c "import urllib.request as u; u.urlopen(u.Request('$AWS_ENDPOINT_URL/lectures', method='PUT'))"
try moto "$work/moto.log"

if [ "${RIVULET_NO_GARAGE:-}" = 1 ]; then
    without_garage
    exit 0
fi
p=$(port) rpc=$(port) admin=$(port)
mkdir -p "$work/garage"
cat > "$work/garage.toml" <<C
metadata_dir = "$work/garage/meta"
data_dir = "$work/garage/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$(python3 -c 'import secrets; print(secrets.token_hex(32))')"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$p"
[admin]
api_bind_addr = "127.0.0.1:$admin"
C
export GARAGE_CONFIG_FILE="$work/garage.toml"
garage server > "$work/garage.log" 2>&1 &
pids="$pids $!"
up "$p"
garage layout assign -z here -c 1G "$(garage node id -q | cut -c1-16)" >&2
garage layout apply --version 1 >&2
garage bucket create lectures >&2
key=$(garage key create rivulet)
garage bucket allow --read --write lectures --key rivulet >&2
AWS_ACCESS_KEY_ID=$(echo "$key" | sed -n 's/^Key ID: *//p')
AWS_SECRET_ACCESS_KEY=$(echo "$key" | sed -n 's/^Secret key: *//p')
export AWS_ENDPOINT_URL="http://127.0.0.1:$p" AWS_REGION=garage AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
try garage "$work/garage.log"
