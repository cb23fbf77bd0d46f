#!/usr/bin/env bash
# A single-node Warren to play with, in the foreground, until Ctrl-C.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/warren-run.XXXXXX")
tail=''
cleanup() {
    trap - EXIT INT TERM
    [ -z "$tail" ] || kill "$tail" 2>/dev/null || true
    stop "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start "$work"
cat <<END
Warren runs. In another terminal:

  export WARREN_HOST=$WARREN_HOST
  alias warren=$WARREN
  warren node ls
  warren service create hello --replicas 2 --health-tcp 8080 -- \\
      /bin/sh -c 'exec busybox httpd -f -p "\$WARREN_TASK_IP:8080"'
  warren service inspect hello

Its log follows; Ctrl-C ends it and removes everything.

END
tail -n +1 -f "$work/warren.log" &
tail=$!
wait "$tail"
