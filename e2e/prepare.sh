#!/bin/bash
# Makes a Debian 12 machine ready for a real cluster: packages, Kubernetes, containerd, images; with --test-runner also
# for the tests: cargo-nextest. Run it as root, as often as you like: it does what is missing and says what takes long.
# Everything but the Debian packages goes into one directory, $PURELB_CACHE (default ~/.cache/purelb).
set -euo pipefail

KUBERNETES=1.36.3
CONTAINERD=2.3.7
NEXTEST=0.9.128
# What they are built with at least.
RUST=1.89.0
GO=1.26.0
# bird and frr speak BGP in the lab, runc and the CNI plugins run pods, busybox is in the test image for `kubectl exec`,
# user-mode-linux is the kernel with `dummy` interfaces for one test of the agent.
PACKAGES=(bird buildah busybox-static conntrack containernetworking-plugins curl frr gcc iproute2 kmod libc6-dev nftables
  openssl procps runc user-mode-linux util-linux)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${PURELB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/purelb}
export PURELB_CACHE=$CACHE
LOG=$CACHE/prepare.log

fail() { echo "prepare.sh: $*" >&2; exit 1; }

# quietly COMMAND...: its output goes to the log, and to the terminal when it fails.
quietly() {
  "$@" >"$LOG" 2>&1 || { tail -40 "$LOG" >&2; fail "failed: $* (all of it in $LOG)"; }
}

# current STAMP INPUT...: whether STAMP was made from the present contents of INPUT... (files or plain words).
hash_of() { for input in "$@"; do if [ -f "$input" ]; then cat "$input"; else echo "$input"; fi; done | sha256sum; }
current() { local stamp=$1; shift; [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(hash_of "$@")" ]; }
stamp() { local stamp=$1; shift; hash_of "$@" >"$stamp"; }

install_packages() {
  local missing=() package
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${PACKAGES[@]}" 2>/dev/null || true)
  for package in "${PACKAGES[@]}"; do
    grep -qx "installed $package" <<<"$installed" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if dpkg-query -W -f '${db:Status-Status}' bird2 2>/dev/null | grep -qx installed; then
    fail "the package bird2 is installed; the lab needs bird 1.6, as Calico has it, and the two cannot be installed together"
  fi
  echo "installing Debian packages: ${missing[*]}"
  without_starting_services quietly apt_install "${missing[@]}"
  if command -v systemctl >/dev/null; then
    for package in "${missing[@]}"; do
      case $package in
        bird) systemctl disable --quiet bird.service bird6.service 2>>"$LOG" || true ;;
        frr) systemctl disable --quiet frr.service 2>>"$LOG" || true ;;
      esac
    done
  fi
}

# at_least WANTED FOUND: whether a version is that one or a later one.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  # A package of the machine's own that is in the way (Docker's containerd.io and Debian's runc exclude each other) is
  # for its owner to remove.
  apt-get install -y --no-install-recommends --no-remove "$@"
}

# Debian starts a daemon when it installs it, unless policy-rc.d says no. Routing daemons have no business on the
# machine itself.
POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.before-purelb
MARK='# made by e2e/prepare.sh for the time of an installation'

without_starting_services() {
  if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then mv "$POLICY" "$SAVED"; fi
  trap restore_policy EXIT
  printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY"
  chmod 755 "$POLICY"
  "$@"
  restore_policy
  trap - EXIT
}

# Also undoes what a killed run has left.
restore_policy() {
  if grep -qxF "$MARK" "$POLICY" 2>/dev/null; then rm "$POLICY"; fi
  if [ -e "$SAVED" ] || [ -L "$SAVED" ]; then mv "$SAVED" "$POLICY"; fi
}

build_kubernetes() {
  local directory=$HERE/kubernetes/controlplane version=v$KUBERNETES
  local inputs=("$directory"/{go.mod,go.sum,main.go} "$version")
  [ -x "$CACHE/bin/k8s" ] && current "$CACHE/bin/k8s.stamp" "${inputs[@]}" && return
  echo "building Kubernetes $KUBERNETES (about 5 minutes, once)"
  local set_version="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version"
  quietly env -C "$directory" CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags="-s -w $set_version" -o "$CACHE/bin/k8s.part" .
  # Renamed into place, because a running lab may be using the old one.
  mv "$CACHE/bin/k8s.part" "$CACHE/bin/k8s"
  stamp "$CACHE/bin/k8s.stamp" "${inputs[@]}"
}

build_containerd() {
  local directory=$HERE/kubernetes/containerd
  local inputs=("$directory"/{go.mod,go.sum} "$CONTAINERD")
  [ -x "$CACHE/bin/containerd" ] && current "$CACHE/bin/containerd.stamp" "${inputs[@]}" && return
  echo "building containerd $CONTAINERD (about 2 minutes, once)"
  rm -rf "$CACHE/bin/part"
  mkdir "$CACHE/bin/part"
  quietly env -C "$directory" CGO_ENABLED=0 go build -buildvcs=false -trimpath -tags 'no_btrfs no_aufs no_zfs no_devmapper' \
    -ldflags="-s -w -X github.com/containerd/containerd/v2/version.Version=$CONTAINERD" -o "$CACHE/bin/part/" tool
  mv "$CACHE"/bin/part/* "$CACHE/bin/"
  rmdir "$CACHE/bin/part"
  stamp "$CACHE/bin/containerd.stamp" "${inputs[@]}"
}

make_images() {
  local source=$HERE/kubernetes/pause/pause.c directory=$HERE/kubernetes/echo work
  if ! { [ -f "$CACHE/images/pause.tar" ] && current "$CACHE/images/pause.stamp" "$source" "$HERE/image.sh"; }; then
    echo "making the image localhost/pause:1"
    work=$(mktemp -d)
    quietly gcc -static -Os -s -Wall -Wextra -o "$work/pause" "$source"
    quietly "$HERE/image.sh" localhost/pause:1 "$CACHE/images/pause.tar" "$work/pause"
    rm -rf "$work"
    stamp "$CACHE/images/pause.stamp" "$source" "$HERE/image.sh"
  fi
  if ! { [ -f "$CACHE/images/echo.tar" ] &&
    current "$CACHE/images/echo.stamp" "$directory"/{go.mod,main.go} "$HERE/image.sh"; }; then
    echo "making the image localhost/echo:1"
    work=$(mktemp -d)
    quietly env -C "$directory" CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags='-s -w' -o "$work/echo" .
    quietly "$HERE/image.sh" localhost/echo:1 "$CACHE/images/echo.tar" "$work/echo" /bin/busybox
    rm -rf "$work"
    stamp "$CACHE/images/echo.stamp" "$directory"/{go.mod,main.go} "$HERE/image.sh"
  fi
}

install_nextest() {
  { [ -x "$CACHE/nextest/bin/cargo-nextest" ] && current "$CACHE/nextest/stamp" "$NEXTEST"; } || {
    echo "building cargo-nextest $NEXTEST (about 3 minutes, once)"
    # Built once and run for its tests' sake, not its own: the quickest compilation is the best one.
    CARGO_TARGET_DIR=$CACHE/nextest/target CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=1 quietly \
      cargo install cargo-nextest --locked --version "$NEXTEST" --debug \
      --no-default-features --features default-no-update --root "$CACHE/nextest"
    rm -rf "$CACHE/nextest/target"
    stamp "$CACHE/nextest/stamp" "$NEXTEST"
  }
}

case $* in
  '') TEST_RUNNER=false ;;
  --test-runner) TEST_RUNNER=true ;;
  *) fail "unknown arguments: $* (there is --test-runner only)" ;;
esac
[ "$(id -u)" = 0 ] || fail "needs root: the lab makes network namespaces"
command -v cargo >/dev/null || fail "no cargo in PATH: install Rust $RUST or later first"
command -v go >/dev/null || fail "no go in PATH: install Go $GO or later first"
at_least "$RUST" "$(cargo --version | cut -d ' ' -f 2)" || fail "Rust $RUST or later is needed, this is $(cargo --version)"
at_least "$GO" "$(go env GOVERSION | sed 's/^go//')" || fail "Go $GO or later is needed, this is $(go env GOVERSION)"
mkdir -p "$CACHE/bin" "$CACHE/images"
exec 9>"$CACHE/lock"
flock --nonblock 9 || { echo 'waiting for another prepare.sh'; flock 9; }
restore_policy
install_packages
build_kubernetes
build_containerd
make_images
if $TEST_RUNNER; then install_nextest; fi
