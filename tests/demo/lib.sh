# Starts and stops a Warren of its own beside a containerd of its own. Sourced, after
# `set -euo pipefail`; whoever sources it calls `start DIR` and has `stop` called at the end.

WARREN=${WARREN:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/debug/warren}
# Tells this Warren's containers from those of another one on the machine.
NAMESPACE=warren-$$
BRIDGE=warren$$
CONTAINERD_PID=''
WARREN_PID=''

is_root() { [ "$(id -u)" = 0 ]; }

# A containerd with its own root, state and socket, so that the machine's own is left alone.
start_containerd() {
    local dir=$1
    mkdir -p "$dir"
    cat >"$dir/config.toml" <<END
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$dir/containerd.sock"
END
    # Out of this shell's process group: Ctrl-C is for the script, which ends things in order.
    setsid containerd --config "$dir/config.toml" --log-level warn >"$dir/log" 2>&1 </dev/null &
    CONTAINERD_PID=$!
    wait_for "containerd to answer" ctr --address "$dir/containerd.sock" version
}

# start DIR ARGS...: containerd where we may, then `warren run` with its data in DIR.
start() {
    local dir=$1
    shift
    local args=(--data-dir "$dir/warren" --listen none)
    if is_root; then
        start_containerd "$dir/containerd"
        args+=(--containerd-socket "$dir/containerd/containerd.sock"
            --containerd-namespace "$NAMESPACE" --bridge "$BRIDGE" --subnet "10.77.$(($$ % 256)).0/24")
    else
        args+=(--no-containerd)
    fi
    export WARREN_HOST="unix://$dir/warren/warren.sock"
    setsid "$WARREN" run "${args[@]}" "$@" >"$dir/warren.log" 2>&1 </dev/null &
    WARREN_PID=$!
    wait_for "Warren to answer" "$WARREN" node ls
}

# wait_for WHAT COMMAND...: until it succeeds, for 30 s at most.
wait_for() {
    local what=$1 tries=300
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then
            echo "waited 30 s for $what" >&2
            return 1
        fi
        sleep 0.1
    done
}

# end PID: in order, and by force after ten seconds.
end() {
    local pid=$1 tries=100
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
}

# stop DIR: services, processes, mounts and files; safe to call at any point of `start`.
stop() {
    local dir=$1 service shim
    if [ -n "$WARREN_PID" ]; then
        for service in $("$WARREN" service ls 2>/dev/null | awk 'NR > 1 { print $1 }'); do
            "$WARREN" service rm --wait "$service" >/dev/null 2>&1 || true
        done
        end "$WARREN_PID"
    fi
    if [ -n "$CONTAINERD_PID" ]; then
        end "$CONTAINERD_PID"
        # Shims outlive containerd by design; these are ours by their namespace.
        for shim in $(pgrep -f -- "containerd-shim-runc-v2 -namespace $NAMESPACE " || true); do
            end "$shim"
        done
        ip link delete "$BRIDGE" 2>/dev/null || true
        # runc keeps a directory for each of containerd's namespaces.
        rmdir "/run/containerd/runc/$NAMESPACE" 2>/dev/null || true
        awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r |
            xargs -r umount -l
    fi
    rm -rf "$dir"
}
