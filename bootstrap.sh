#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From a fresh clone to something that runs. What is missing is installed with
# apt-get (as root or with sudo) on Debian and its like; elsewhere this says
# what to install. CMake presets do the rest.

set -eu

usage() {
  cat <<'EOF'
usage: ./bootstrap.sh COMMAND

  demo            two peers behind NATs find each other and talk
  test [GATE...]  everything CI checks ("quick": a subset under 3 minutes;
                  "list": the names)
  natlab [ARG...] the NAT lab (see spec/natlab)
  env             print shell code that makes this build usable:
                  eval "$(./bootstrap.sh env)"
  build           build the Lua module
  clean           remove build/ (the cache of dependencies stays)

ngtcp2 and wolfSSL are built once into $ANTQUIC_CACHE (default ~/.cache/antquic).
EOF
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
build=$root/build/release

say() {
  printf 'antquic: %s\n' "$*" >&2
}

die() {
  say "$@"
  exit 1
}

build_packages="gcc libc6-dev make cmake ninja-build pkgconf autoconf automake
  libtool xz-utils curl ca-certificates libuv1-dev lua5.4 liblua5.4-dev"
lab_packages="iproute2 nftables iptables"
test_packages="libcmocka-dev clang clang-format valgrind lua-busted lua-check
  luarocks lua5.1 luajit python3-venv git libc6-dbg"

# need PACKAGE...: install those that are missing.
need() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    for tool in cc make cmake ninja pkg-config autoconf automake lua5.4; do
      command -v "$tool" >/dev/null 2>&1 ||
        die "'$tool' is missing. Install (by their Debian names): $*"
    done
    return 0
  fi
  missing=
  for p in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$p" 2>/dev/null) in
      ii*) ;;
      *) missing="$missing $p" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  as=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
      die "neither root nor sudo here. Install by hand:$missing"
    as=sudo
  fi
  say "installing$missing"
  apt_log=$(mktemp)
  # shellcheck disable=SC2086 # packages are words
  if $as apt-get update >"$apt_log" 2>&1 </dev/null &&
    $as env DEBIAN_FRONTEND=noninteractive apt-get install -y \
      --no-install-recommends $missing >>"$apt_log" 2>&1 </dev/null; then
    rm -f "$apt_log"
  else
    tail -n 20 "$apt_log" >&2
    die "apt-get failed (all of it: $apt_log). Install by hand:$missing"
  fi
}

build() {
  # shellcheck disable=SC2086 # packages are words
  need $build_packages
  mkdir -p "$root/build"
  log=$root/build/release.log
  # cmake/deps.sh speaks to standard error; CMake itself only when it fails.
  prefix=$("$root/cmake/deps.sh") || die "no dependencies, no build"
  (cd "$root" && cmake --preset release -DANTQUIC_DEPS_PREFIX="$prefix" &&
    cmake --build --preset release) >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    die "the build failed (all of it: $log)"
  }
}

# quote TEXT: for the shell
quote() {
  printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

print_env() {
  lpath="$root/lua/?.lua;$root/lua/?/init.lua;;"
  cpath="$build/clib/?.so;;"
  # Lua 5.4 prefers the names with a version in them, where they are set.
  echo "export LUA_PATH=$(quote "$lpath")"
  echo "export LUA_CPATH=$(quote "$cpath")"
  [ -z "${LUA_PATH_5_4:-}" ] ||
    echo "export LUA_PATH_5_4=$(quote "$lpath")"
  [ -z "${LUA_CPATH_5_4:-}" ] ||
    echo "export LUA_CPATH_5_4=$(quote "$cpath")"
  case ":$PATH:" in
    *":$root/bin:"*) ;;
    *) echo "export PATH=$(quote "$root/bin"):\"\$PATH\"" ;;
  esac
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
  demo)
    # shellcheck disable=SC2086 # packages are words
    need $build_packages $lab_packages
    build
    eval "$(print_env)"
    exec lua5.4 "$root/spec/natlab/demo.lua" "$@"
    ;;
  natlab)
    # shellcheck disable=SC2086 # packages are words
    need $build_packages $lab_packages
    build
    eval "$(print_env)"
    exec lua5.4 "$root/spec/natlab/main.lua" "$@"
    ;;
  test)
    # shellcheck disable=SC2086 # packages are words
    if [ "${1:-}" != list ]; then
      need $build_packages $lab_packages $test_packages
      # libFuzzer and the sanitizers of this clang are a package of their own.
      command -v dpkg-query >/dev/null 2>&1 &&
        need "libclang-rt-$(clang -dumpversion | cut -d . -f 1)-dev"
    fi
    exec "$root/.ci/gates.sh" "$@"
    ;;
  env)
    build >&2
    print_env
    ;;
  build)
    build
    say "built $build/clib/antquic/core.so"
    ;;
  clean)
    rm -rf "$root/build"
    ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
