#!/bin/sh
# tests/interop/aarch64_sysroot.sh DIR - Debian's arm64 libraries that a client links, unpacked into DIR. Packages of this
# machine are neither installed nor changed: apt works on lists of its own, and its signatures are checked as always.
dir=$1
[ -n "$dir" ] || { echo "usage: $0 DIR"; exit 2; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "needs apt-get and dpkg-deb, of Debian"; exit 1; }
mkdir -p "$dir/apt/state/lists/partial" "$dir/apt/cache/archives/partial" && cd "$dir" && touch apt/state/status || exit 1
root=$PWD
apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
        -o Dir::State="$root/apt/state" -o Dir::State::status="$root/apt/state/status" -o Dir::Cache="$root/apt/cache" "$@"
}
apt update >apt/log 2>&1 || { tail -n 3 apt/log; exit 1; }
(cd apt/cache/archives && apt download libsodium-dev libyaml-dev libprotobuf-c-dev zlib1g-dev) >>apt/log 2>&1 ||
    { tail -n 3 apt/log; exit 1; }
for deb in apt/cache/archives/*.deb; do
    dpkg-deb -x "$deb" . || exit 1
done
rm -rf apt
