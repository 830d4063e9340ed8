#!/bin/bash
# shellcheck disable=SC2034,SC2154 # what the two scripts share
# For scripts/container-check: a container engine with compose, and the images it is to run. Sourced.
#
#   engine_up CACHE      finds an engine that answers, or installs and starts one of its own whose
#                        images live in CACHE; sets `docker` and `compose`, the commands to use
#   engine_image NAME COMMAND...  makes sure that the image is there: pulled, else made by COMMAND
#   engine_down          ends the engine if engine_up has started it
#
# Needs from the script that sources it: note TEXT, give_up TEXT and skip TEXT (the last two exit).

# shellcheck source=scripts/debian.sh
. scripts/debian.sh

docker=()
compose=()
engine_folder= # of the engine started here
engine_pid=
engine_can_pull=true

# Whether a daemon answers a client: engine_answers COMMAND
engine_answers() {
  [[ -n $(timeout 20 "$1" version --format '{{.Server.Version}}' 2>/dev/null) ]]
}

# Sets `docker` to a client whose daemon answers.
engine_find() {
  local client
  for client in /usr/bin/docker docker; do
    if command -v "$client" >/dev/null && engine_answers "$client"; then
      docker=("$client")
      return 0
    fi
  done
  return 1
}

# Sets `compose`: the plugin, else the command of its own.
engine_find_compose() {
  if "${docker[@]}" compose version >/dev/null 2>&1; then
    compose=("${docker[@]}" compose)
  elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
  else
    return 1
  fi
}

# Starts a daemon of its own: its socket and state in a temporary folder, its images in the cache.
engine_start() {
  local cache=$1 end=$((SECONDS + 40))
  engine_folder=$(mktemp -d /tmp/tidemill-engine.XXXXXX) # sockets want a short path
  mkdir -p "$cache/docker"
  setsid dockerd --data-root "$cache/docker" --exec-root "$engine_folder/exec" \
    --pidfile "$engine_folder/pid" --host "unix://$engine_folder/socket" \
    >"$engine_folder/log" 2>&1 </dev/null &
  engine_pid=$!
  export DOCKER_HOST="unix://$engine_folder/socket"
  unset DOCKER_CONTEXT
  until engine_find; do
    if ! kill -0 "$engine_pid" 2>/dev/null || ((SECONDS >= end)); then
      sed 's/^/  dockerd: /' "$engine_folder/log" | tail -n 5 >&2
      skip "dockerd cannot be started on this machine"
    fi
    sleep 0.1
  done
  note "dockerd ${docker[0]} $("${docker[@]}" version --format '{{.Server.Version}}'), started for this check"
}

engine_up() {
  local cache=$1
  if ! engine_find; then
    [[ $(id -u) -eq 0 ]] || skip "no container engine answers, and starting one needs root"
    if ! command -v dockerd >/dev/null; then
      command -v apt-get >/dev/null || skip "no container engine answers, and none is to be had here"
      scripts/setup container || give_up "the packages of a container engine can't be installed"
    fi
    engine_find || engine_start "$cache" # where systemd runs, its package has started it
  fi
  if ! engine_find_compose; then
    scripts/setup container || true
    engine_find_compose || give_up "there is no docker compose"
  fi
}

# Ends the daemon, and waits: it takes its containers with it. Layers that no image has any more go.
engine_down() {
  if [[ -n $engine_pid ]]; then
    "${docker[@]}" image prune -f >/dev/null 2>&1 || true
    kill "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
  fi
  [[ -z $engine_folder ]] || rm -rf "$engine_folder"
}

engine_image() {
  local name=$1
  shift
  if "${docker[@]}" image inspect "$name" >/dev/null 2>&1; then
    return
  fi
  if $engine_can_pull && timeout 120 "${docker[@]}" pull -q "$name" >/dev/null 2>&1; then
    note "$name: pulled"
    return
  fi
  engine_can_pull=false # one wait for a registry that is out of reach is enough
  "$@" "$name"
}

# A base image of Debian 13, made with debootstrap: engine_make_base NAME
engine_make_base() {
  local began=$SECONDS tar=$cache/debian13.tar
  [[ -n $(find "$tar" -mtime -30 2>/dev/null) ]] || debian_base "$tar" || give_up "$1 can't be pulled, nor made"
  "${docker[@]}" import -c 'CMD ["bash"]' - "$1" <"$tar" >/dev/null
  note "$1: can't be pulled; made with debootstrap in $((SECONDS - began)) s"
}

# Builds a stand-in for an image that can't be pulled, from Debian's package of the same program:
# engine_make_stand_in NAME, with what follows FROM on standard input.
engine_make_stand_in() {
  local began=$SECONDS log=$folder/stand-in.log
  if ! (echo "FROM $base" && cat) | "${docker[@]}" build -t "$1" - >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    give_up "the stand-in for $1 can't be built"
  fi
  note "$1: can't be pulled; Debian's package stands in for it, made in $((SECONDS - began)) s"
}

# wget is what the compose file's health check asks with, as in the image it stands for.
engine_make_nats() {
  engine_make_stand_in "$1" <<'EOF'
RUN apt-get -qq update \
  && apt-get -qq install -y --no-install-recommends nats-server busybox \
  && rm -rf /var/lib/apt/lists/* && ln -s "$(command -v busybox)" /usr/bin/wget
ENTRYPOINT ["nats-server"]
EOF
}

engine_make_prometheus() {
  engine_make_stand_in "$1" <<'EOF'
RUN apt-get -qq update \
  && apt-get -qq install -y --no-install-recommends prometheus \
  && rm -rf /var/lib/apt/lists/* && install -d -o nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
EOF
}
