#!/usr/bin/env bash
# Make a stand-in for python:3.11-slim-bookworm out of Debian packages, where no image registry can be reached.
# Needs root, debootstrap, and podman or docker. The package mirror is the one that this machine's apt uses.
#   ENGINE   the engine with its options (podman, or else docker)
#   IMAGE    the name that the image gets
#   MIRROR   a Debian mirror, instead of apt's
set -euo pipefail

image=${IMAGE:-docker.io/library/python:3.11-slim-bookworm}
suite=bookworm
read -ra engine <<<"${ENGINE:-$(command -v podman >/dev/null && echo podman || echo docker)}"

stop() {
  echo "base_image: $*" >&2
  exit 2
}

[ "$(id -u)" = 0 ] || stop "expected root, which debootstrap needs, found $(id -un); call it with sudo"
for tool in debootstrap "${engine[0]}"; do
  command -v "$tool" >/dev/null || stop "expected the command $tool, found none; apt-get install $tool"
done

mirror() {
  apt-get indextargets --format '$(SITE) $(CODENAME) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite="$suite" '!found && ($2 == suite || $3 == suite) { print $1; found = 1 }'
}
from=${MIRROR:-$(mirror)}
from=${from:-https://deb.debian.org/debian}

# In memory where there is room: dpkg waits for the disk after each of its files.
free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1 || true)
[ "${free:-0}" -gt 1000000 ] && parent=/dev/shm || parent=${TMPDIR:-/tmp}
work=$(mktemp -d "$parent/base-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
# A mount without devices or programs will not do.
if ! { mknod "$work/null" c 1 3 && : >"$work/null" && cp /bin/true "$work/true" && "$work/true"; } 2>/dev/null; then
  rm -rf "$work"
  work=$(mktemp -d "${TMPDIR:-/tmp}/base-image.XXXXXX")
  root=$work/root
fi

if ! debootstrap --variant=minbase --include=ca-certificates,netbase,python3,python3-pip,python3-venv,tzdata \
  "$suite" "$root" "$from" >"$work/log" 2>&1; then
  tail -n 5 "$work/log" "$root/debootstrap/debootstrap.log" >&2 2>/dev/null || true
  stop "debootstrap of $suite failed"
fi

# As in the official image: python and pip are in /usr/local/bin, and pip may install there.
rm "$root"/usr/lib/python3.11/EXTERNALLY-MANAGED
for name in python python3; do ln -s /usr/bin/python3 "$root/usr/local/bin/$name"; done
ln -s /usr/bin/pip3 "$root/usr/local/bin/pip"

# Documentation, package lists and this machine's own settings stay outside.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old "$root"/var/log/* \
  "$root"/usr/share/{doc,info,locale,man}/*
echo 'deb https://deb.debian.org/debian bookworm main' >"$root/etc/apt/sources.list"
: >"$root/etc/resolv.conf"
: >"$root/etc/hosts"
echo localhost >"$root/etc/hostname"

tar --numeric-owner -C "$root" -c . | "${engine[@]}" import \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV LANG=C.UTF-8' \
  --change 'CMD ["python3"]' \
  - "$image" >/dev/null
echo "$image"
