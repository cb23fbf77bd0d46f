#!/usr/bin/env bash
# Proves that every image works: imports it into a containerd of its own, runs it and asks it.
#
#   check.sh OUTDIR    the directory that `build.sh all` has filled
set -euo pipefail
shopt -s inherit_errexit

images=${1:?usage: check.sh OUTDIR}
dir=$(mktemp -d)
# runc keeps the containers of every containerd in one place, by namespace.
namespace=image-check-$$
daemon=

say() { echo "$(date +%T.%3N) $*"; }
fail() { echo "check.sh: $*" >&2; exit 1; }
ctr() { command ctr -a "$dir/containerd.sock" -n "$namespace" "$@"; }

# --- containerd ------------------------------------------------------------------------------

start_containerd() {
    cat >"$dir/config.toml" <<END
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "$dir/containerd.sock"
END
    containerd -c "$dir/config.toml" >"$dir/containerd.log" 2>&1 &
    daemon=$!
    until_true 100 ctr version || fail "containerd did not start: $(tail -3 "$dir/containerd.log")"
}

clean_up() {
    local task
    for task in $(ctr task ls -q 2>/dev/null); do
        ctr task rm -f "$task" >/dev/null 2>&1 || true
    done
    # The shims end with their tasks; only then may the daemon go, or they would stay behind.
    [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon" || true; }
    rmdir "/run/containerd/runc/$namespace" /sys/fs/cgroup/{,*/}"$namespace" 2>/dev/null || true
    rm -rf "$dir"
}

# Tries a command until it succeeds, TIMES times at most, ten times a second.
until_true() {
    local times=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        ((times-- > 0)) || return 1
        sleep 0.1
    done
}

# --- One task --------------------------------------------------------------------------------

start() {
    local name=$1
    ctr run -d --log-uri "file://$dir/$name.log" "docker.io/warren-test/$name:1" "$name" </dev/null
}

run_once() {
    local name=$1
    shift
    ctr run --rm --fifo-dir "$dir" "docker.io/warren-test/$name:1" once "$@" </dev/null
}

stop() {
    local name=$1 signal=$2
    ctr task kill -s "$signal" "$name"
    until_true 50 is_stopped "$name" || fail "$name does not stop on $signal"
    ctr task rm "$name" >/dev/null
}

is_stopped() { ctr task ls | grep -q "^$1 .*STOPPED"; }
pid() { ctr task ls | awk -v name="$1" '$1 == name { print $2 }'; }
get() { nsenter -t "$(pid "$1")" -n curl -s -o /dev/null -m 3 -w '%{http_code}' "$2" || true; }
answers() { [ "$(get "$1" "$2")" = "$3" ]; }
log() { tail -3 "$dir/$1.log"; }
logged() { grep -q "$2" "$dir/$1.log"; }

run_in() {
    local name=$1
    shift
    ctr task exec --exec-id "check-$RANDOM" --fifo-dir "$dir" "$name" "$@" </dev/null
}

expect() {
    local name=$1 url=$2 code=$3
    until_true 100 answers "$name" "$url" "$code" ||
        fail "$name: $url answers $(get "$name" "$url") and not $code: $(log "$name")"
}

# --- The images ------------------------------------------------------------------------------

check_busybox() {
    local ids
    ids=$(run_once busybox su app -c 'id -u; id -G' | xargs)
    [ "$ids" = '1000 1000 2000' ] || fail "busybox: the user app is $ids"
    run_once busybox-docker true
}

check_web() {
    local process
    start web
    expect web http://127.0.0.1:8080/health 200
    expect web http://127.0.0.1:8080/cgi-bin/ready 200
    process=$(pid web)
    run_in web touch /tmp/broken /tmp/unready
    expect web http://127.0.0.1:8080/cgi-bin/health 500
    expect web http://127.0.0.1:8080/cgi-bin/ready 503
    run_in web rm /tmp/broken
    expect web http://127.0.0.1:8080/cgi-bin/health 200
    run_in web rm /www/health
    expect web http://127.0.0.1:8080/health 404
    [ "$(pid web)" = "$process" ] || fail "web: its process has changed"
    stop web SIGTERM
}

check_fail500() {
    start fail500
    expect fail500 http://127.0.0.1:8080/health 500
    stop fail500 SIGTERM
}

check_healthcheck() {
    local manifest config
    manifest=$(member healthcheck index.json | jq -r '.manifests[0].digest')
    config=$(member healthcheck "blobs/${manifest/://}" | jq -r .config.digest)
    member healthcheck "blobs/${config/://}" |
        jq -e '.config.Healthcheck.Test == ["CMD-SHELL", "test -f /tmp/ok"]' >/dev/null ||
        fail "healthcheck: the config has no health check"
    start healthcheck
    ! run_in healthcheck sh -c 'test -f /tmp/ok' 2>/dev/null || fail "healthcheck: passes at once"
    run_in healthcheck touch /tmp/ok
    run_in healthcheck sh -c 'test -f /tmp/ok'
    stop healthcheck SIGTERM
}

member() { tar -xOf "$images/$1.tar" "$2"; }

check_nginx() {
    start nginx
    expect nginx http://127.0.0.1/ 200
    until_true 20 logged nginx 'GET / HTTP' || fail "nginx: no line in its access log"
    logged nginx 'start worker process' || fail "nginx: no line in its error log"
    stop nginx SIGQUIT
}

check_redis() {
    start redis
    until_true 100 run_in redis redis-cli ping || fail "redis: $(log redis)"
    [ "$(run_in redis redis-cli set key value)" = OK ] || fail "redis: does not store"
    nsenter -t "$(pid redis)" -n bash -c '
        exec 3<>/dev/tcp/127.0.0.1/6379 && echo PING >&3 && head -1 <&3' | grep -q PONG ||
        fail "redis: does not answer on port 6379"
    stop redis SIGTERM
}

check_postgres() {
    start postgres
    until_true 300 run_in postgres pg_isready -U postgres ||
        fail "postgres: $(log postgres)"
    [ "$(run_in postgres psql -U postgres -h 127.0.0.1 -Atc 'select 6 * 7')" = 42 ] ||
        fail "postgres: does not answer a query"
    stop postgres SIGINT
}

main() {
    local archive check
    trap clean_up EXIT
    start_containerd
    say "containerd $(ctr version | awk '/Version/ { version = $2 } END { print version }')"
    for archive in "$images"/*.tar; do
        ctr images import "$archive" >/dev/null
        say "imported $(basename "$archive")"
    done
    for check in busybox web fail500 healthcheck nginx redis postgres; do
        "check_$check"
        say "$check works"
    done
}

main "$@"
