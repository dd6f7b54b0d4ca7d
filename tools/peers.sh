#!/usr/bin/env bash
# Install the real programs that the interop tests and the lab talk with, from Debian, without starting
# any of their services on this machine: a policy-rc.d that says no stands while apt works, and what
# stood there before is put back afterwards, also when apt fails or is interrupted.
# With `demo` as $1 only what the demo needs.
set -euo pipefail

ground=(iproute2 iputils-ping nftables tcpdump openssl procps curl)
everything=(
    "${ground[@]}"
    # clients
    ca-certificates git openssh-client netcat-openbsd bind9-dnsutils chromium
    # servers
    openssh-server vsftpd dnsmasq-base unbound
    # proxies to stand upstream of us
    microsocks dante-server tinyproxy v2ray
    # the settings of desktops
    dbus-daemon libglib2.0-bin gsettings-desktop-schemas dconf-gsettings-backend libkf5config-bin
    # encrypted proxies, both ends
    shadowsocks-libev simple-obfs trojan
    # web servers to be compared with
    nginx
)
case "${1:-all}" in
    all) packages=("${everything[@]}") ;;
    demo) packages=("${ground[@]}") ;;
    *) printf 'usage: %s [all|demo]\n' "$0" >&2; exit 2 ;;
esac
guard=/usr/sbin/policy-rc.d
kept=

say() { printf 'peers: %s\n' "$*"; }
die() { printf 'peers: %s\n' "$*" >&2; exit 1; }

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "installing Debian packages needs root: run this as root, or install sudo"
    as_root=(sudo)
fi
command -v apt-get >/dev/null || die "this installs from Debian and needs apt-get; elsewhere install by hand: ${packages[*]}"

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
    say "all ${#packages[@]} packages are installed"
    exit 0
fi

work=$(mktemp -d)
restore() {
    if [ -n "$kept" ]; then
        "${as_root[@]}" cp -a -- "$kept" "$guard"
    else
        "${as_root[@]}" rm -f -- "$guard"
    fi
    rm -rf -- "$work"
}
if [ -e "$guard" ]; then
    kept=$work/policy-rc.d
    "${as_root[@]}" cp -a -- "$guard" "$kept"
fi
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
printf '#!/bin/sh\n# Stands while the peers are installed: no service may start (101: forbidden by policy).\nexit 101\n' >"$work/guard"
"${as_root[@]}" install -m 755 "$work/guard" "$guard"

say "installing: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null
say "done; no service was started"
