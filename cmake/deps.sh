#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Gets and builds the two pinned dependencies, ngtcp2 and wolfSSL, as static,
# position-independent, hidden libraries, and prints the prefix that they are
# installed in (the last and only line of standard output; everything else
# goes to standard error).
#
# usage: cmake/deps.sh [--print-prefix | --fetch]
#   --print-prefix  only print where they are, or would be, installed
#   --fetch         only get the source archives
#
# Everything is kept outside the tree, in $ANTQUIC_CACHE (default
# ${XDG_CACHE_HOME:-$HOME/.cache}/antquic). To build with no network put the
# two archives there under the names below. Whatever the source, an archive
# whose SHA-256 isn't the pinned one is thrown away.

set -eu

NGTCP2_VERSION=1.24.0
NGTCP2_FILE=ngtcp2_$NGTCP2_VERSION.orig.tar.xz
NGTCP2_SHA256=7fa5ec2be0f0cbed8bc4ec89c0787dfa9d8ce678f1ed9477c52f30eb1a591207
NGTCP2_URL=https://github.com/ngtcp2/ngtcp2/releases/download/v$NGTCP2_VERSION/ngtcp2-$NGTCP2_VERSION.tar.xz

WOLFSSL_VERSION=5.9.2
WOLFSSL_FILE=wolfssl_$WOLFSSL_VERSION.orig.tar.gz
WOLFSSL_SHA256=2f4ef3d4fd387a9b3191d36a6316d69116c46ff69bb9583b6c82b36d7b8ca114
WOLFSSL_URL=https://github.com/wolfSSL/wolfssl/archive/refs/tags/v$WOLFSSL_VERSION-stable.tar.gz

CC=${CC:-cc}
export CC
DEPS_CFLAGS="-O3 -g -fPIC -fvisibility=hidden"
WOLFSSL_CFLAGS="$DEPS_CFLAGS -DHAVE_AES_ECB -DWOLFSSL_AES_DIRECT"
case $(uname -m) in
  x86_64 | amd64) asm=--enable-intelasm ;;
  aarch64 | arm64) asm=--enable-armasm ;;
  *) asm= ;;
esac
WOLFSSL_OPTIONS="--disable-shared --enable-static --with-pic --enable-quic
  --enable-alpn --enable-session-ticket --enable-earlydata --enable-psk
  --enable-ed25519 --enable-curve25519 --enable-rpk --enable-mlkem
  --enable-tls-mlkem-standalone --enable-mldsa $asm --enable-aesgcm-stream
  --enable-certgen --enable-keygen --enable-opensslextra
  --enable-keying-material --enable-harden --enable-sp --disable-oldtls
  --disable-tlsv12 --disable-examples --disable-crypttests"
NGTCP2_OPTIONS="-DCMAKE_BUILD_TYPE=Release -DENABLE_LIB_ONLY=ON
  -DENABLE_OPENSSL=OFF -DENABLE_WOLFSSL=ON -DENABLE_SHARED_LIB=OFF
  -DBUILD_TESTING=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON"

say() {
  printf 'deps: %s\n' "$*" >&2
}

die() {
  say "$@"
  exit 1
}

sha256() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$@" | cut -d ' ' -f 1
  else
    shasum -a 256 "$@" | cut -d ' ' -f 1
  fi
}

cache=${ANTQUIC_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/antquic}
recipe="$NGTCP2_SHA256 $WOLFSSL_SHA256 $("$CC" -dumpmachine 2>/dev/null || uname -m)
$WOLFSSL_CFLAGS $WOLFSSL_OPTIONS $DEPS_CFLAGS $NGTCP2_OPTIONS"
prefix=$cache/deps-$(printf '%s' "$recipe" | sha256 | cut -c 1-12)

case ${1:-} in
  --print-prefix)
    echo "$prefix"
    exit 0
    ;;
  --fetch | '') ;;
  *) die "usage: cmake/deps.sh [--print-prefix | --fetch]" ;;
esac

if [ -f "$prefix/complete" ] && [ "${1:-}" != --fetch ]; then
  echo "$prefix"
  exit 0
fi

mkdir -p "$cache"
# Two builds at once would write over each other: the second waits, then finds
# the work done.
if command -v flock >/dev/null 2>&1 && [ -z "${ANTQUIC_DEPS_LOCKED:-}" ]; then
  ANTQUIC_DEPS_LOCKED=1 exec flock "$cache/deps.lock" sh "$0" "$@"
fi
tmp=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# --- getting the archives ---------------------------------------------------

# good FILE SHA256: true when FILE exists and is the pinned archive.
good() {
  [ -f "$1" ] && [ "$(sha256 "$1")" = "$2" ]
}

# download URL FILE: true when something was written to FILE.
download() {
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL --connect-timeout 10 --speed-time 20 --speed-limit 1000 \
      -o "$2" "$1" </dev/null >&2 2>"$tmp/err" && return 0
  elif command -v wget >/dev/null 2>&1; then
    wget -q -T 20 -t 1 -O "$2" "$1" </dev/null >&2 2>"$tmp/err" && return 0
  fi
  if [ -x /usr/lib/apt/apt-helper ]; then
    # apt's own downloader knows the proxy and keys that apt is set up with.
    /usr/lib/apt/apt-helper -o Acquire::http::Timeout=20 \
      -o Acquire::https::Timeout=20 -o Acquire::Retries=0 \
      download-file "$1" "$2" </dev/null >"$tmp/err" 2>&1 && return 0
  fi
  return 1
}

# apt_entries: the machine's own package archives, one per line:
# "<uri>|<components>|<signed-by>", from one-line and deb822 source entries.
# Security archives and extra repositories are left in: they just don't have
# the file.
apt_entries() {
  etc=/etc/apt
  for f in $etc/sources.list $etc/sources.list.d/*.list; do
    [ -f "$f" ] || continue
    sed -n 's/^[[:space:]]*deb[[:space:]][[:space:]]*//p' "$f" |
      while read -r line; do
        key=
        case $line in
          \[*)
            key=$(expr "$line" : '\[.*signed-by=\([^] ]*\).*\]') || key=
            line=${line#*\]}
            ;;
        esac
        # shellcheck disable=SC2086 # split into words
        set -- $line
        [ $# -ge 3 ] || continue
        uri=$1
        shift 2
        echo "$uri|$*|$key"
      done
  done
  for f in $etc/sources.list.d/*.sources; do
    [ -f "$f" ] || continue
    awk '
      function flush() {
        n = split(uris, u, " ")
        if (types ~ /(^| )deb( |$)/ && tolower(enabled) !~ /^(no|false|0)$/)
          for (i = 1; i <= n; i++) print u[i] "|" comps "|" key
        types = uris = comps = key = enabled = ""
      }
      /^[[:space:]]*$/ { flush(); next }
      /^#/ { next }
      { i = index($0, ":"); k = tolower(substr($0, 1, i - 1))
        v = substr($0, i + 1); gsub(/^[[:space:]]+|[[:space:]]+$/, "", v) }
      k == "types" { types = v }
      k == "uris" { uris = v }
      k == "components" { comps = v }
      k == "signed-by" { key = v }
      k == "enabled" { enabled = v }
      END { flush() }' "$f"
  done
}

# from_pool PACKAGE FILE SHA256: the archive's usual place in a Debian pool,
# whatever suite it is in at present. Needs no package lists.
from_pool() {
  apt_entries | cut -d '|' -f 1 | sort -u >"$tmp/uris"
  while read -r uri; do
    case $uri in
      http://* | https://*) ;;
      *) continue ;;
    esac
    rm -f "$tmp/$2"
    url=${uri%/}/pool/main/$(printf %.1s "$1")/$1/$2
    if download "$url" "$tmp/$2" && good "$tmp/$2" "$3"; then
      return 0
    fi
  done <"$tmp/uris"
  return 1
}

# from_source_lists PACKAGE FILE SHA256: ask apt, with a private source list and
# a private lists directory, where the source package is.
from_source_lists() {
  command -v apt-get >/dev/null 2>&1 || return 1
  testing=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  apt_entries | grep -v security | sort -u >"$tmp/entries"
  for suite in sid $testing; do
    rm -rf "$tmp/apt" && mkdir -p "$tmp/apt/lists/partial"
    while IFS='|' read -r uri comps key; do
      opt=
      [ -z "$key" ] || opt="[signed-by=$key] "
      echo "deb-src $opt$uri $suite ${comps:-main}"
    done <"$tmp/entries" >"$tmp/apt/private.list"
    set -- "$1" "$2" "$3" -o Dir::Etc::sourcelist="$tmp/apt/private.list" \
      -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$tmp/apt/lists" \
      -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
      -o APT::Sandbox::User=root -o Acquire::Languages=none
    pkg=$1 file=$2 sum=$3
    shift 3
    apt-get "$@" update </dev/null >"$tmp/err" 2>&1 || :
    url=$(apt-get "$@" source --print-uris --only-source "$pkg" 2>/dev/null |
      sed -n "s|^'\([^']*/$file\)'.*|\1|p" | head -n 1)
    set -- "$pkg" "$file" "$sum"
    [ -n "$url" ] || continue
    rm -f "$tmp/$file"
    if download "$url" "$tmp/$file" && good "$tmp/$file" "$sum"; then
      return 0
    fi
  done
  return 1
}

# fetch PACKAGE FILE SHA256 URL
fetch() {
  if [ -f "$cache/$2" ]; then
    good "$cache/$2" "$3" && return 0
    say "$cache/$2 is not the pinned archive, it is removed"
    rm -f "$cache/$2"
  fi
  say "getting $2 from its makers"
  if download "$4" "$tmp/$2" && good "$tmp/$2" "$3"; then
    mv "$tmp/$2" "$cache/$2"
    return 0
  fi
  say "not to be had there; trying this machine's package archive"
  if from_pool "$1" "$2" "$3" || from_source_lists "$1" "$2" "$3"; then
    mv "$tmp/$2" "$cache/$2"
    return 0
  fi
  [ ! -s "$tmp/err" ] || sed 's/^/deps:   /' "$tmp/err" | tail -n 5 >&2
  die "could not get $2: put a file with SHA-256
deps:   $3
deps:   into $cache (upstream: $4)"
}

fetch ngtcp2 "$NGTCP2_FILE" "$NGTCP2_SHA256" "$NGTCP2_URL"
fetch wolfssl "$WOLFSSL_FILE" "$WOLFSSL_SHA256" "$WOLFSSL_URL"
if [ "${1:-}" = --fetch ]; then
  exit 0
fi

# --- building ---------------------------------------------------------------

jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

# run LOG COMMAND...: keep quiet unless it fails.
run() {
  log=$cache/$1
  shift
  "$@" </dev/null >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "'$*' failed, see $log"
  }
}

for tool in "$CC" make cmake autoconf automake libtoolize tar xz; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is missing"
done

rm -rf "$prefix"
say "building wolfSSL $WOLFSSL_VERSION (one to three minutes)"
mkdir "$tmp/wolfssl" "$tmp/ngtcp2"
tar -xf "$cache/$WOLFSSL_FILE" -C "$tmp/wolfssl" --strip-components=1
: >"$cache/wolfssl.log"
cd "$tmp/wolfssl"
[ -x configure ] || run wolfssl.log ./autogen.sh
# shellcheck disable=SC2086 # options are words
run wolfssl.log env CFLAGS="$WOLFSSL_CFLAGS" ./configure --prefix="$prefix" \
  --libdir="$prefix/lib" $WOLFSSL_OPTIONS
run wolfssl.log make -j"$jobs"
run wolfssl.log make install

say "building ngtcp2 $NGTCP2_VERSION"
tar -xf "$cache/$NGTCP2_FILE" -C "$tmp/ngtcp2" --strip-components=1
: >"$cache/ngtcp2.log"
# shellcheck disable=SC2086 # options are words
run ngtcp2.log cmake -S "$tmp/ngtcp2" -B "$tmp/ngtcp2/build" \
  -DCMAKE_C_FLAGS="$DEPS_CFLAGS" -DCMAKE_INSTALL_PREFIX="$prefix" \
  -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_PREFIX_PATH="$prefix" $NGTCP2_OPTIONS
run ngtcp2.log cmake --build "$tmp/ngtcp2/build" -j "$jobs" --target install

: >"$prefix/complete"
say "installed in $prefix"
echo "$prefix"
