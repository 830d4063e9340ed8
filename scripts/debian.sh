#!/bin/bash
# Other Debians than the one at hand, for scripts/compat-check and scripts/container-check. Sourced.
# All comes from the mirror that this machine's own apt uses.
#
#   debian_mirror             prints the mirror's URL
#   debian_base TAR           makes an archive of Debian 13 as small as it gets; root and debootstrap
#   debian_apt FOLDER SUITE COMMAND...  apt-get for another suite, which keeps its state in FOLDER and
#                             leaves the machine's own lists alone; no root
#   debian_inside ROOT SOURCE COMMAND...  runs a command in the Debian in ROOT, with SOURCE at /src: it
#                             sees processes, mounts and a loopback network of its own only, and
#                             nothing of it outlives the call; root
#   debian_online ROOT SOURCE COMMAND...  the same with the machine's network
#
# Each returns 1 and says on standard error why when it cannot.

debian_mirror() {
  local mirror
  # shellcheck disable=SC2016 # these are apt's
  mirror=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n '/^Debian\/Debian /{s///p;q}')
  if [[ -z $mirror ]]; then
    echo "apt's sources on this machine name no mirror of Debian" >&2
    return 1
  fi
  echo "$mirror"
}

debian_base() {
  local tar=$1 root mirror log status=0
  if [[ $(id -u) -ne 0 ]]; then
    echo "making a Debian 13 with debootstrap needs root" >&2
    return 1
  fi
  mirror=$(debian_mirror) || return 1
  command -v debootstrap >/dev/null || scripts/setup debian >&2 || return 1
  root=$(mktemp -d "$tar.XXXXXX")
  chmod 755 "$root"
  log=$root.log
  # With certificates, for a mirror that is reached by https.
  if ! debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "debootstrap of Debian 13 failed" >&2
    status=1
  else
    tar -C "$root" --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' -cf "$tar.new" . &&
      mv "$tar.new" "$tar" || status=1
  fi
  rm -rf "$root" "$log"
  return "$status"
}

debian_apt() {
  local folder=$1 suite=$2 mirror
  shift 2
  mirror=$(debian_mirror) || return 1
  mkdir -p "$folder"/{lists,cache,parts}/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/sources"
  apt-get -qq -o Dir::State="$folder" -o Dir::State::status=/dev/null -o Dir::Cache="$folder/cache" \
    -o Dir::Etc::sourcelist="$folder/sources" -o Dir::Etc::sourceparts="$folder/parts" \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$folder/parts" \
    -o APT::Sandbox::User=root "$@"
}

# Sets up a Debian for a command and runs it there: debian_enter ROOT SOURCE COMMAND...
# shellcheck disable=SC2016 # the variables are the inner shell's
debian_enter='
  root=$1 source=$2
  shift 2
  mount -t proc proc "$root/proc"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mkdir -p "$root/src"
  mount --bind "$source" "$root/src"
  if [[ $1 == --loopback ]]; then
    chroot "$root" ip link set lo up
    shift
  fi
  exec chroot "$root" env -i -C /src HOME=/root LANG=C.UTF-8 PATH=/usr/bin:/usr/sbin:/bin:/sbin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"'

debian_online() {
  local root=$1
  cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
  unshare --mount --pid --fork --kill-child bash -euc "$debian_enter" debian "$@"
}

debian_inside() {
  local root=$1 source=$2
  shift 2
  unshare --mount --pid --net --fork --kill-child bash -euc "$debian_enter" debian "$root" "$source" --loopback "$@"
}
