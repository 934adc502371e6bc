#!/usr/bin/env bash
# Installs what is missing on a Debian 12 for one purpose (build, demo, test, bench, check, fuzz, deep), and says what.
set -euo pipefail

build="clang llvm libelf-dev zlib1g-dev libbpf-dev pkg-config gcc make"
demo="$build iproute2 ethtool iputils-ping iperf3 tshark python3"
test="$demo tcpdump python3-scapy gobgpd frr procps"
bench="$demo openvswitch-switch-dpdk librte-bus-vdev23 librte-mempool-ring23 librte-net-null23 librte-net-pcap23 valgrind"

case "${1:-build}" in
build) want=$build ;;
demo) want=$demo ;;
test) want=$test ;;
bench) want=$bench ;;
check | fuzz | deep) want=$build ;;
*)
    echo "usage: tools/deps.sh build|demo|test|bench|check|fuzz|deep" >&2
    exit 2
    ;;
esac

command -v cargo >/dev/null || {
    echo "deps: no cargo found; install a Rust toolchain first (rustup, stable)" >&2
    exit 1
}

missing=()
for package in $want; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || {
        echo "deps: not root, and these Debian packages are missing: ${missing[*]}" >&2
        exit 1
    }
    echo "deps: installing ${missing[*]}"
    # Daemons that come along (FRR, Open vSwitch) must not start by themselves.
    policy=/usr/sbin/policy-rc.d
    made_policy=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made_policy=1
    fi
    log=$(mktemp)
    trap 'rm -f "$log"; [ -z "$made_policy" ] || rm -f "$policy"' EXIT
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "deps: apt-get could not install: ${missing[*]}" >&2
        exit 1
    fi
fi

if [ "${1:-build}" = check ] && ! cargo deny --version >/dev/null 2>&1; then
    echo "deps: installing cargo-deny (cargo install)"
    cargo install --locked --quiet cargo-deny
fi

if [ "${1:-build}" = fuzz ] && ! cargo bolero --version >/dev/null 2>&1; then
    echo "deps: installing cargo-bolero (cargo install)"
    cargo install --locked --quiet cargo-bolero
fi

# Miri is a component of a nightly toolchain. Without one `make deep` skips it and says so.
if [ "${1:-build}" = deep ] && command -v rustup >/dev/null && rustup toolchain list | grep -q '^nightly' &&
    ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "deps: adding Miri to the nightly toolchain (rustup component add)"
    rustup component add --quiet --toolchain nightly miri rust-src >/dev/null 2>&1 || echo "deps: Miri cannot be had here"
fi
