#!/usr/bin/env bash
# The story of Warren in a minute: three replicas, one is broken while its process lives on, it is
# noticed, replaced, and said why. Over containerd as root, with plain processes otherwise.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/warren-demo.XXXXXX")
cleanup() {
    trap - EXIT INT TERM
    printf '\n== Cleaning up\n'
    stop "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ warren %s\n' "$*"; "$WARREN" "$@"; }
pid_of() { "$WARREN" task inspect "$1" -o json | sed -nE 's/.*"pid": *([0-9]+).*/\1/p' | head -n 1; }
id_of() { "$WARREN" task inspect "$1" -o json | sed -nE 's/.*"id": *"([0-9a-f]+)".*/\1/p' | head -n 1; }
all_healthy() { "$WARREN" service inspect web | grep -q 'Health: 3/3 healthy'; }
recovered() { [ "$(id_of web.2)" != "$broken" ] && all_healthy; }

health=(--health-http /health:8080 --health-interval 1s --health-timeout 1s --health-retries 3)

create_containers() {
    step "An image, built here and imported; no registry is needed"
    "$here/../images/build.sh" web "$work/web.tar"
    run image import "$work/web.tar"
    step "A service of three replicas, each checked every second"
    run service create web --image warren-test/web:1 --replicas 3 "${health[@]}"
}

# Each process serves files of its own on an address of its own.
create_processes() {
    local serve
    if command -v busybox >/dev/null; then
        # shellcheck disable=SC2016
        serve='exec busybox httpd -f -p "$WARREN_TASK_IP:8080" -h "$dir"'
    elif command -v python3 >/dev/null; then
        # shellcheck disable=SC2016
        serve='exec python3 -m http.server --bind "$WARREN_TASK_IP" -d "$dir" 8080'
    else
        echo 'The demo needs busybox (Debian: busybox-static) or python3 to serve a page.' >&2
        exit 1
    fi
    step "Not root, so without containers: three processes, each checked every second"
    run service create web --replicas 3 "${health[@]}" -- /bin/sh -c \
        "dir=$work/www-\$WARREN_TASK_ID; mkdir -p \"\$dir\"; echo ok >\"\$dir/health\"; $serve"
}

break_task() {
    if is_root; then
        rm "/proc/$(pid_of "$1")/root/www/health"
    else
        rm "$work/www-$(id_of "$1")/health"
    fi
}

step "Starting Warren: manager and worker in one process"
start "$work"
sed -n 's/^warren is ready.*/&/p' "$work/warren.log"
run node ls
if is_root; then create_containers; else create_processes; fi
wait_for "three healthy replicas" all_healthy
run service inspect web
run task ls web

broken=$(id_of web.2)
step "Breaking web.2: its page is gone, its process runs on"
break_task web.2
begun=$(date +%s%N)
noticed() { "$WARREN" task inspect "$broken" -o json | grep -q HEALTH_STATUS_UNHEALTHY; }
wait_for "the broken task to be noticed" noticed
printf 'noticed after %d ms\n' "$((($(date +%s%N) - begun) / 1000000))"
run service inspect web
run task ls web
wait_for "the task to be replaced" recovered
printf 'three healthy replicas again after %d ms\n' "$((($(date +%s%N) - begun) / 1000000))"
run service inspect web
run task ls web --all
step "What happened, and why"
run event ls web
