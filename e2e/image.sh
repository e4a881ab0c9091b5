#!/bin/bash
# image.sh NAME:TAG OUT.tar FILE... : an image with the static programs FILE... in its root directory and the first of
# them as its entry point, written as an OCI archive.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 NAME:TAG OUT.tar FILE..." >&2; exit 2; }
name=$1 out=$2
shift 2
CACHE=${PURELB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/purelb}
# A storage of our own: the machine's container storage stays as it is.
mkdir -p "$CACHE/buildah"
storage=$(mktemp -d "$CACHE/buildah/XXXXXX")
buildah() { command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"; }
trap 'rm -rf "$storage"; rmdir "$CACHE/buildah" 2>/dev/null || true' EXIT
container=$(buildah from scratch)
buildah copy -q "$container" "$@" / >/dev/null
buildah config --entrypoint "[\"/$(basename "$1")\"]" "$container"
buildah commit -q "$container" "$name" >/dev/null
rm -f "$out.part"
buildah push -q "$name" "oci-archive:$out.part:$name"
mv "$out.part" "$out"
