#!/bin/sh
# Latency of POST /v1/route: 128-token prompts, 1 and 8 connections, the release server on a free port.
#   evals/serving/bench.sh CHECKPOINT [OUT.md] [SECONDS]
# Build first: cargo build --release. Another program to measure: TIERCAST=path.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkpoint=${1:?usage: evals/serving/bench.sh CHECKPOINT [OUT.md] [SECONDS]}
out=${2:-$here/results.md}
seconds=${3:-20}
tiercast=${TIERCAST:-$here/../../target/release/tiercast}
command -v wrk >/dev/null || { echo "wrk is not installed: apt-get install wrk" >&2; exit 2; }
[ -x "$tiercast" ] || { echo "$tiercast is not there: cargo build --release" >&2; exit 2; }

log=$(mktemp)
rows=$(mktemp)
"$tiercast" serve --checkpoint "$checkpoint" --listen 127.0.0.1:0 >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -f "$log" "$rows"' EXIT INT TERM

url=
for _ in $(seq 100); do
  url=$(sed -n 's|^listening on \(http://[^ ]*\).*|\1|p' "$log")
  [ -n "$url" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the server did not start within 10 s:" >&2; cat "$log" >&2; exit 1; }

for connections in 1 8; do
  export CONNECTIONS=$connections
  # The first run warms caches up and is thrown away.
  wrk -t1 -c"$connections" -d2s -s "$here/post.lua" "$url/v1/route" >/dev/null
  wrk -t1 -c"$connections" -d"${seconds}s" --latency -s "$here/post.lua" "$url/v1/route" | grep '^| ' >>"$rows"
done

{
  echo "POST /v1/route, prompts of about 128 tokens, ${seconds} s each, $(wrk -v 2>&1 | head -1 | cut -d' ' -f1,2),"
  echo "client and server on one machine ($(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(date -u +%F), commit $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo none), checkpoint $(basename "$checkpoint")."
  echo
  echo "| connections | requests | requests/s | p50 ms | p99 ms | errors |"
  echo "| ---: | ---: | ---: | ---: | ---: | ---: |"
  cat "$rows"
} | tee "$out"
