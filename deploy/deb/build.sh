#!/usr/bin/env bash
# Makes a Debian package of a built binary and the unit files: build.sh BINARY PACKAGE.deb
set -euo pipefail

main() {
    local here binary=$1 package=$2 root version
    here=$(cd "$(dirname "$0")/.." && pwd)
    root=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$root'" EXIT
    version=$("$binary" --version | awk '{ print $2 }')
    chmod 755 "$root"
    install -D -m 755 "$binary" "$root/usr/bin/warren"
    install -D -m 644 -t "$root/lib/systemd/system" "$here"/systemd/*.service
    mkdir "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<END
Package: warren
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The Warren authors <warren@localhost>
Depends: libc6
Recommends: containerd, runc, containernetworking-plugins, iptables, tini
Section: admin
Priority: optional
Description: runs services on a cluster and knows which of their tasks really work
 The manager keeps the cluster's state and answers the API; a worker on each
 machine runs the tasks and checks them.
END
    install -m 755 "$here/deb/postinst" "$here/deb/prerm" "$root/DEBIAN"
    dpkg-deb -Zgzip --root-owner-group --build "$root" "$package"
}

[ $# = 2 ] || { echo "usage: build.sh BINARY PACKAGE.deb" >&2; exit 2; }
main "$@"
