#!/usr/bin/env bash
# Builds the images of the tests and the demo as OCI archives, from Debian's packages alone.
#
#   build.sh NAME OUT.tar             one image: a directory here that holds a `recipe`
#   build.sh docker-archive OUT.tar   the busybox image in the format of `docker save`
#   build.sh all OUTDIR               every image as OUTDIR/NAME.tar, and busybox-docker.tar
#
# An archive that is newer than everything in this directory is left alone. Packages are kept in
# $WARREN_IMAGE_CACHE (target/test-images). The same inputs give the same digests.
set -euo pipefail
shopt -s extglob inherit_errexit
umask 022

here=$(cd "$(dirname "$0")" && pwd)
cache=$(realpath -m "${WARREN_IMAGE_CACHE:-$here/../../target/test-images}")
epoch=2024-01-01T00:00:00Z

die() { echo "build.sh: $*" >&2; exit 1; }

require() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is missing: run tests/setup/packages.sh test"
    done
}

# --- What goes into an image -----------------------------------------------------------------

# Puts image NAME on top of what LAYOUT holds: first its base, then its own layer and its config.
# A subshell, so that the variables of one recipe do not leak into the next.
add_image() (
    local layout=$1 name=$2 root
    local base='' packages=() without='' cmd=() config=() healthcheck=''
    fill() { :; }
    # shellcheck source=/dev/null
    . "$here/$name/recipe"
    [ -z "$base" ] || add_image "$layout" "$base"
    root=$work/$name
    mkdir "$root"
    [ ${#packages[@]} = 0 ] || add_packages "$root" "$without" "${packages[@]}"
    [ ! -d "$here/$name/files" ] || cp -R "$here/$name/files/." "$root"
    fill "$root"
    add_layer "$layout" "$root" "$name"
    umoci config --image "$layout:build" --no-history --created "$epoch" \
        "${cmd[@]/#/--config.cmd=}" "${config[@]}"
    [ -z "$healthcheck" ] || add_healthcheck "$layout" "$healthcheck"
)

# Puts ROOT into LAYOUT as one more layer, unless there is nothing in it. The tar is ours: `umoci
# insert` (0.4.7) writes one without its end, which strict readers reject.
add_layer() {
    local layout=$1 root=$2 name=$3
    [ -n "$(ls -A "$root")" ] || return 0
    pack "$root" "$root.tar" .
    umoci raw add-layer --image "$layout:build" --history.created "$epoch" \
        --history.created_by "tests/images/$name" "$root.tar"
    rm "$root.tar"
}

# Writes FILES of DIR into a tar that depends on their content and rights alone.
pack() {
    local dir=$1 out=$2
    shift 2
    tar -C "$dir" --sort=name --mtime="$epoch" --numeric-owner -cf "$out" "$@"
}

# Adds `name` with its own group to the image's users. The files of the base image are underneath.
add_user() {
    local root=$1 name=$2 id=$3 home=$4 file
    for file in passwd group; do
        [ -e "$root/etc/$file" ] ||
            install -D -m 644 "$here/busybox/files/etc/$file" "$root/etc/$file"
    done
    echo "$name:x:$id:$id::$home:/bin/sh" >>"$root/etc/passwd"
    echo "$name:x:$id:" >>"$root/etc/group"
}

# umoci knows no health checks: they are docker's addition to the OCI config. So the config gets a
# new blob, hence the manifest a new digest, hence the index.
add_healthcheck() {
    local layout=$1 check=$2 manifest config
    require jq
    manifest=$(jq -r '.manifests[0].digest' "$layout/index.json")
    config=$(jq -r .config.digest "$(blob "$layout" "$manifest")")
    # shellcheck disable=SC2016 # $new is jq's
    config=$(edit_blob "$layout" "$config" '.config.Healthcheck = $new' "$check")
    # shellcheck disable=SC2016 # $new is jq's
    manifest=$(edit_blob "$layout" "$manifest" '.config += $new' "$config")
    jq -c --argjson new "$manifest" '.manifests[0] += $new' "$layout/index.json" >"$layout/new"
    mv "$layout/new" "$layout/index.json"
}

blob() { echo "$1/blobs/${2/://}"; }

# Writes an edited copy of a JSON blob, and prints the {digest, size} that refer to it.
edit_blob() {
    local layout=$1 digest=$2 filter=$3 new=$4 hash
    jq -c --argjson new "$new" "$filter" "$(blob "$layout" "$digest")" >"$layout/new"
    hash=$(sha256sum <"$layout/new" | cut -d' ' -f1)
    printf '{"digest":"sha256:%s","size":%d}' "$hash" "$(stat -c %s "$layout/new")"
    mv "$layout/new" "$layout/blobs/sha256/$hash"
}

# --- Packages --------------------------------------------------------------------------------

# Unpacks PACKAGES and the libraries they need, without their maintainer scripts.
add_packages() {
    local root=$1 without=$2 debs
    shift 2
    require apt-get dpkg-deb
    debs=$(fetch "$without" "$@") || { apt-get -qq update && debs=$(fetch "$without" "$@"); }
    # shellcheck disable=SC2086 # file names of packages have no spaces
    (cd "$cache/debs" && printf '%s\n' $debs | xargs -P 2 -I DEB dpkg-deb -x DEB "$root")
    rm -rf "$root"/usr/share/{bug,doc,doc-base,info,lintian,locale,man,perl5} \
        "$root"/usr/share/zoneinfo/{posix,right} "$root"/usr/lib/*/gconv
}

# Downloads PACKAGES and their libraries, and prints the names of the files.
fetch() {
    local without=$1 file wanted=()
    shift
    mkdir -p "$cache"/{debs,apt/archives/partial}
    exec 9>"$cache/lock" # held until this function's subshell ends
    flock 9
    while read -r _ file _; do # its URI, name, size and hash
        is_wanted "${file%%_*}" "$without" "$@" && wanted+=("$file")
    done < <(apt_get --print-uris --no-install-recommends install "$@")
    [ ${#wanted[@]} -gt 0 ] || return 1
    (cd "$cache/debs" && apt_get download "${wanted[@]%%_*}" >&2) || return 1
    printf '%s\n' "${wanted[@]}"
}

# Of what a package depends on, the libraries are needed to run it; most of the rest (perl, debconf,
# adduser...) is there for its installation, and busybox does what is left.
is_wanted() {
    local package=$1 without=$2 name
    shift 2
    for name in "$@"; do
        [ "$package" != "$name" ] || return 0
    done
    # shellcheck disable=SC2053 # a pattern
    [[ $package == @(lib*|zlib1g) && $package != $without ]]
}

# apt-get as if nothing were installed, with the sources of this machine.
apt_get() {
    : >"$cache/apt/status"
    apt-get -qq -o Dir::Cache="$cache/apt" -o Dir::State::status="$cache/apt/status" \
        -o APT::Sandbox::User=root "$@"
}

# --- Archives --------------------------------------------------------------------------------

# Prints the reference that image NAME carries in its archive.
reference() { echo "docker.io/warren-test/$1:1"; }

build_image() {
    local name=$1 out=$2 layout=$work/layout ref
    ref=$(reference "$name")
    require umoci
    umoci init --layout "$layout"
    umoci new --image "$layout:build"
    add_image "$layout" "$name"
    umoci gc --layout "$layout"
    # umoci names an image by one annotation; containerd and docker look for another one first.
    sed -i "s|\"build\"|\"$ref\",\"io.containerd.image.name\":\"$ref\"|" "$layout/index.json"
    chmod -R a+rX "$layout"
    pack "$layout" "$out" blobs index.json oci-layout
}

build_docker_archive() {
    local out=$1
    require skopeo
    build_image busybox "$work/oci.tar"
    skopeo --insecure-policy copy -q "oci-archive:$work/oci.tar" \
        "docker-archive:$out:$(reference busybox-docker)"
}

is_fresh() { [ -e "$1" ] && [ -z "$(find "$here" -type f -newer "$1" -print -quit)" ]; }

# Builds one archive. It appears under its name only when it is whole.
build() (
    local name=$1 out=$2
    ! is_fresh "$out" || return 0
    [ "$(id -u)" = 0 ] || die "must run as root, because an image has files of several users"
    mkdir -p "$(dirname "$out")"
    work=$(mktemp -d)
    trap 'rm -rf "$work" "$out.$$"' EXIT
    if [ "$name" = docker-archive ]; then
        build_docker_archive "$out.$$"
    else
        build_image "$name" "$out.$$"
    fi
    mv "$out.$$" "$out"
)

build_all() {
    local recipe
    for recipe in "$here"/*/recipe; do
        recipe=$(basename "$(dirname "$recipe")")
        build "$recipe" "$1/$recipe.tar"
    done
    build docker-archive "$1/busybox-docker.tar"
}

main() {
    [ $# = 2 ] || die "usage: build.sh NAME|docker-archive OUT.tar, or build.sh all OUTDIR"
    case $1 in
        all) build_all "$2" ;;
        docker-archive) build "$@" ;;
        *) [ -e "$here/$1/recipe" ] || die "there is no image '$1'"; build "$@" ;;
    esac
}

main "$@"
