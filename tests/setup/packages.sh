#!/usr/bin/env bash
# Installs what is missing from Debian's packages, and does nothing when nothing is.
#
#   packages.sh GROUP...      build: compile Warren        run:  run it over containerd
#                             demo:  run + make an image   test: demo + what the tests use
#                             bench: what the benchmarks compare with
#
# Where it cannot install (not Debian, not root) it says what is missing and fails.
set -euo pipefail
shopt -s inherit_errexit

# A line is: package, then the tool that proves it is there (alternatives by comma, or a path).
# Any provider of the tool will do, so that Docker's containerd.io is never replaced by ours; `=`
# means that on Debian only the package itself will do, because a lookalike has the same tool.
list_group() {
    case $1 in
        build) cat <<'END'
gcc cc
libc6-dev =
make make
protobuf-compiler protoc
libprotobuf-dev =
END
            ;;
        run) cat <<'END'
containerd containerd
runc runc
containernetworking-plugins /usr/lib/cni/bridge,/opt/cni/bin/bridge
iptables iptables
iproute2 ip
END
            ;;
        demo) list_group run; cat <<'END'
busybox-static =busybox
umoci umoci
END
            ;;
        test) list_group demo; cat <<'END'
curl curl
docker-registry docker-registry
e2fsprogs mkfs.ext4
jq jq
memcached memcached
nats-server nats-server
nginx nginx
openssl openssl
postgresql =psql
prometheus promtool
python3-pip =pip3
python3-venv =python3
redis-server redis-server
skopeo skopeo
systemd systemd-analyze
tini /usr/bin/tini-static
util-linux nsenter
END
            ;;
        bench) cat <<'END'
haproxy haproxy
iproute2 ip
END
            ;;
        *) echo "packages.sh: unknown group '$1' (build, run, demo, test or bench)" >&2; exit 2 ;;
    esac
}

is_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

# Whether one of the comma-separated tools exists. No name at all proves nothing either way; then
# the compiler's own error has to do.
has_tool() {
    local tool
    [ -n "$1" ] || return 0
    for tool in ${1//,/ }; do
        command -v "$tool" >/dev/null && return 0
    done
    return 1
}

# Prints the lines of the given groups whose package is missing.
list_missing() {
    local groups installed='' package tool
    groups=$(for group in "$@"; do list_group "$group"; done)
    if is_debian; then
        # dpkg-query fails when it knows nothing of a package: that is an answer, not an error.
        # shellcheck disable=SC2046 # package names have no spaces
        installed=$(dpkg-query -W -f '<${db:Status-Status} ${Package}>' \
            $(while read -r package _; do echo "$package"; done <<<"$groups") 2>/dev/null || true)
    fi
    while read -r package tool; do
        [[ $installed != *"<installed $package>"* ]] || continue
        if [[ $tool == =* ]] && is_debian || ! has_tool "${tool#=}"; then
            echo "$package ${tool#=}"
        fi
    done <<<"$groups"
}

# Says what is missing, one sentence each, for whoever has to install it by hand.
explain() {
    local package tool
    while read -r package tool; do
        # Where a lookalike is there, or no tool has to be, it is the package that is missing.
        ! has_tool "$tool" || tool=$package
        echo "${tool%%,*} is missing: install it (Debian's package is $package)." >&2
    done
    is_debian && echo "Or run this again as root, and it is installed for you." >&2
    return 0
}

# Debian starts a daemon as soon as its package is installed. Warren's tests start their own, on
# their own sockets, and a second containerd or registry would be a surprise. An existing
# policy-rc.d is the administrator's and stays as it is.
deny_service_starts() {
    local policy=/usr/sbin/policy-rc.d
    (set -o noclobber; printf '#!/bin/sh\nexit 101\n' >"$policy") 2>/dev/null || return 0
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' INT TERM HUP
    chmod 755 "$policy"
}

# Takes the daemons that came with our packages out of the next boot as well.
keep_services_off() {
    local package now=()
    command -v systemctl >/dev/null || return 0
    [ ! -d /run/systemd/system ] || now=(--now)
    for package in "$@"; do
        case $package in
            containerd|docker-registry|haproxy|memcached|nats-server|nginx|postgresql|prometheus|redis-server)
                systemctl --quiet disable "${now[@]}" "$package.service" || true ;;
        esac
    done
}

install() {
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    deny_service_starts
    # A third-party source that is down need not matter; if it does, the install says so.
    apt-get -qq update || echo "packages.sh: apt-get update had errors, going on" >&2
    apt-get -qq -y --no-install-recommends install "$@"
    keep_services_off "$@"
}

main() {
    local missing
    [ $# -gt 0 ] || { echo "usage: packages.sh build|run|demo|test|bench..." >&2; exit 2; }
    PATH=$PATH:/usr/sbin:/sbin
    missing=$(list_missing "$@")
    [ -n "$missing" ] || return 0
    if ! is_debian || [ "$(id -u)" != 0 ]; then
        explain <<<"$missing"
        exit 1
    fi
    # shellcheck disable=SC2046 # package names have no spaces
    install $(awk '{ print $1 }' <<<"$missing")
}

main "$@"
