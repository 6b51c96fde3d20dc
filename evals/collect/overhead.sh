#!/bin/sh
# Calls per second of the upstream client against `tiercast replay --instant`, beside a plain reqwest
# loop in the same run. Usage: evals/collect/overhead.sh OUTCOMES [CALLS [CONCURRENCY]]
# Needs release builds: cargo build --release -p tiercast, and of the example (built here).
set -eu
cd "$(dirname "$0")/../.."
outcomes=$1
calls=${2:-2000}
concurrency=${3:-64}
profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}/$( [ "$profile" = dev ] && echo debug || echo "$profile" )
cargo build --quiet --profile "$profile" -p tiercast-replay --example overhead
log=$(mktemp)
"$target/tiercast" replay --outcomes "$outcomes" --listen 127.0.0.1:0 --instant > "$log" &
replay=$!
trap 'kill "$replay" 2> /dev/null || true; rm -f "$log"' EXIT
until grep -q '^listening on ' "$log"; do
    kill -0 "$replay"
    sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$log")/v1
"$target/examples/overhead" "$outcomes" "$url" "$calls" "$concurrency"
