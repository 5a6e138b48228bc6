#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The gates: one function each, run in order, one line each. What a gate prints
# goes to build/log/NAME.log; its last line is the summary. A gate whose subject
# is missing fails.
#
# usage: .ci/gates.sh [quick | list | NAME...]      (./bootstrap.sh test does it)
#   ANTQUIC_FUZZ_SECONDS=N   seconds for each fuzz target (default 20)
#   ANTQUIC_FUZZ_RUNS=N      or so many inputs for each of them
#   ANTQUIC_FUZZ_TARGETS=... or only for these: "frame ctl"
#   ANTQUIC_STRICT=1         a formatter that can't be had is a failure too

set -eu

cd "$(dirname "$0")/.."
root=$(pwd -P)
logs=$root/build/log
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

ALL="build layers cformat luaformat luacheck lua51 exports docs ctest coverage asan
  valgrind busted busted-gc busted-asan busted-valgrind fuzz examples rockspec env demo natlab"
QUICK="build layers cformat luaformat luacheck lua51 exports docs ctest busted env"

# --- helpers ------------------------------------------------------------------

fail() {
  echo "$*"
  exit 1
}

# some WHAT FILE...: fails when the shell pattern matched nothing.
some() {
  what=$1
  shift
  [ -e "$1" ] || fail "there is no $what"
}

# preset NAME: configures and builds it.
preset() {
  cmake --preset "$1" -DANTQUIC_DEPS_PREFIX="$deps" || fail "cmake --preset $1 failed"
  cmake --build --preset "$1" || fail "the $1 build failed"
}

lua_files() {
  find lua spec examples bench bin rockspec .ci -type f -name '*.lua' 2>/dev/null || :
  for f in bin/*; do
    case $(head -n 1 "$f" 2>/dev/null) in *lua*) echo "$f" ;; esac
  done
}

c_files() {
  find src spec examples bench -type f -name '*.[ch]' 2>/dev/null || :
}

# --- gates --------------------------------------------------------------------

gate_build() {
  preset dev
  preset release
  # The core must stand without Lua and without libuv, too.
  cmake -G Ninja -S . -B build/bare -DANTQUIC_DEPS_PREFIX="$deps" \
    -DANTQUIC_LUA=OFF -DANTQUIC_IO=OFF -DANTQUIC_WERROR=ON
  cmake --build build/bare --target antquic_base antquic_proto antquic_quic antquic_sim
  some "module" build/dev/clib/antquic/core.so build/release/clib/antquic/core.so
  echo "dev, release and bare built, no warnings"
}

gate_layers() {
  lua5.4 spec/layers/check.lua build/dev
}

gate_cformat() {
  c_files >"$logs/c_files"
  .ci/tools.sh clang-format --version
  xargs .ci/tools.sh clang-format --dry-run -Werror <"$logs/c_files"
  echo "$(wc -l <"$logs/c_files") files"
}

gate_luaformat() {
  # shellcheck disable=SC2046 # file names are words
  .ci/tools.sh stylua --check $(lua_files)
}

gate_luacheck() {
  # shellcheck disable=SC2046 # file names are words
  luacheck --no-color -q $(lua_files) >"$logs/luacheck.out" ||
    fail "$(sed '/^$/d' "$logs/luacheck.out")"
  echo "$(lua_files | wc -l) files"
}

gate_lua51() {
  some "lua/antquic" lua/antquic/*.lua
  count=0
  for f in $(find lua -name '*.lua'); do
    luac5.1 -p "$f"
    luajit -b "$f" /dev/null
    count=$((count + 1))
  done
  echo "$count files parse as Lua 5.1 and LuaJIT"
}

gate_exports() {
  for so in build/dev/clib/antquic/core.so build/release/clib/antquic/core.so; do
    some "$so" "$so"
    names=$(nm -D --defined-only "$so" | awk '{ print $NF }')
    [ "$names" = luaopen_antquic_core ] || fail "$so exports: $names"
    # Of the libraries linked in, none may be looked for at run time.
    if nm -D --undefined-only "$so" |
      grep -E ' (ngtcp2_|wolfSSL|wc_|aq_|laq_)'; then
      fail "$so leaves symbols of ours undefined"
    fi
    libs=$(readelf -d "$so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
    for lib in $libs; do
      case $lib in
        libuv.so.* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | \
          librt.so.* | libgcc_s.so.* | ld-linux*) ;;
        *) fail "$so needs $lib" ;;
      esac
    done
  done
  echo "only luaopen_antquic_core; needs $(echo $libs)"
}

gate_docs() {
  preset dev >/dev/null
  lua5.4 spec/layers/docs.lua
}

gate_ctest() {
  preset dev >/dev/null
  some "C test" spec/c/test_*.c
  ctest --preset dev -j "$jobs" --no-tests=error >"$logs/ctest.out" ||
    fail "$(cat "$logs/ctest.out")"
  echo "$(grep -c ' Passed ' "$logs/ctest.out") C test programs"
}

gate_coverage() {
  preset cov
  find build/cov -name '*.gcda' -delete
  ctest --preset cov -j "$jobs" --no-tests=error >"$logs/cov.out" ||
    fail "$(cat "$logs/cov.out")"
  lua5.4 .ci/coverage.lua build/cov src/proto 95
}

gate_asan() {
  preset asan
  ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 \
    UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --preset asan -j "$jobs" --no-tests=error >"$logs/asan.out" ||
    fail "$(cat "$logs/asan.out")"
  echo "$(grep -c ' Passed ' "$logs/asan.out") C test programs"
}

# A test that takes long may do less where ANTQUIC_VALGRIND is set.
gate_valgrind() {
  preset dev >/dev/null
  some "C test" spec/c/test_*.c
  # shellcheck disable=SC2016 # the inner shell's variables
  printf '%s\n' spec/c/test_*.c | xargs -P "$jobs" -I '{}' sh -c '
    name=$(basename "$1" .c)
    start=$(date +%s)
    ANTQUIC_VALGRIND=1 valgrind -q --error-exitcode=99 --leak-check=full \
      --errors-for-leak-kinds=definite,indirect,possible \
      "build/dev/tests/$name" >"build/log/valgrind-$name.out" 2>&1 || {
      echo "$name: $(tail -n 60 "build/log/valgrind-$name.out")"
      exit 1
    }
    echo "$name: $(($(date +%s) - start)) s"' sh '{}' ||
    fail "see above"
  set -- spec/c/test_*.c
  echo "$# C test programs"
}

# busted_with BUILD: every Lua spec against that build's module.
busted_with() {
  some "Lua spec" spec/unit/*_spec.lua
  some "Lua spec of the schedulers" spec/sched/*_spec.lua
  some "Lua spec in virtual time" spec/sim/*_spec.lua
  some "Lua spec over loopback" spec/net/*_spec.lua
  ANTQUIC_BUILD=$root/build/$1 busted --lua=/usr/bin/lua5.4 -o TAP \
    >"$logs/busted.out" 2>&1 || fail "$(grep -v -e '^ok ' -e '^# .*lua @ ' "$logs/busted.out")"
  grep -q '^ok ' "$logs/busted.out" || fail "no spec ran"
  echo "$(grep -c '^ok ' "$logs/busted.out") specs"
}

gate_busted() {
  preset dev >/dev/null
  busted_with dev
}

gate_busted_gc() {
  ANTQUIC_GC=eager ANTQUIC_SAMPLE=1 busted_with dev
}

# All specs but those that only start other programs.
gate_busted_valgrind() {
  preset dev >/dev/null
  cat >build/valgrind-lua <<'EOS'
#!/bin/sh
exec valgrind -q --error-exitcode=99 --leak-check=full --num-callers=25 \
  --errors-for-leak-kinds=definite,indirect,possible /usr/bin/lua5.4 "$@"
EOS
  chmod +x build/valgrind-lua
  ANTQUIC_BUILD=$root/build/dev busted --lua="$root/build/valgrind-lua" -o TAP \
    spec/unit spec/sched spec/net/connection_spec.lua spec/net/stream_spec.lua \
    spec/net/traversal_spec.lua >"$logs/busted.out" 2>&1 ||
    fail "$(grep -v -e '^ok ' -e '^# .*lua @ ' "$logs/busted.out")"
  grep -q '^ok ' "$logs/busted.out" || fail "no spec ran"
  echo "$(grep -c '^ok ' "$logs/busted.out") specs"
}

gate_busted_asan() {
  preset asan >/dev/null
  # lua5.4 isn't built with the sanitizer: its library must come first. Leaks
  # of the interpreter and of its libraries aren't ours to judge. Freed memory is
  # kept aside for a while only: specs watch how much the process grows.
  LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 busted_with asan
}

gate_fuzz() {
  some "fuzz target" spec/fuzz/fuzz_*.c
  preset fuzz
  if [ -n "${ANTQUIC_FUZZ_RUNS:-}" ]; then
    bound=-runs=$ANTQUIC_FUZZ_RUNS
  else
    bound=-max_total_time=${ANTQUIC_FUZZ_SECONDS:-20}
  fi
  count=0 runs=0
  for source in spec/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    short=${name#fuzz_}
    case " ${ANTQUIC_FUZZ_TARGETS:-$short} " in
      *" $short "*) ;;
      *) continue ;;
    esac
    # New inputs stay out of the tree; the kept ones are only read.
    mkdir -p "build/fuzz/corpus/$name" "build/fuzz/found"
    corpus=spec/fuzz/corpus/$short
    some "corpus of $name" "$corpus"/*
    "build/fuzz/fuzzers/$name" "$bound" -timeout=10 \
      -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/found/$name-" \
      "build/fuzz/corpus/$name" "$corpus" >"$logs/$name.log" 2>&1 ||
      fail "$name: $(tail -n 60 "$logs/$name.log")"
    n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name.log")
    echo "$name: $n inputs"
    count=$((count + 1)) runs=$((runs + ${n:-0}))
  done
  [ "$count" -gt 0 ] || fail "no target is called ${ANTQUIC_FUZZ_TARGETS:-}"
  echo "$count targets, $bound each, $runs inputs"
}

# examples/README.md as printed, with the module that ships.
gate_examples() {
  preset release >/dev/null
  ANTQUIC_BUILD=$root/build/release busted --lua=/usr/bin/lua5.4 -o TAP \
    spec/net/examples_spec.lua >"$logs/examples.out" 2>&1 ||
    fail "$(cat "$logs/examples.out")"
  grep -q '^ok ' "$logs/examples.out" || fail "no example ran"
  echo "$(grep -c '^ok ' "$logs/examples.out") blocks of examples/README.md"
}

gate_rockspec() {
  some "rockspec" rockspec/antquic-scm-*.rockspec
  rm -rf build/rock && mkdir -p build/rock/src
  tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C build/rock/src
  (cd build/rock/src && CMAKE_GENERATOR= luarocks --lua-version 5.4 \
    --tree "$root/build/rock/tree" make --deps-mode=none \
    rockspec/antquic-scm-0.rockspec) || fail "luarocks make failed"
  (
    cd /
    share=$root/build/rock/tree/share/lua/5.4
    export LUA_PATH="$share/?.lua;$share/?/init.lua;;"
    export LUA_CPATH="$root/build/rock/tree/lib/lua/5.4/?.so;;"
    lua5.4 -e 'assert(require("antquic")._VERSION)'
    "$root/build/rock/tree/bin/antquic" --help >/dev/null
  ) || fail "what luarocks installed doesn't work"
  echo "luarocks make, require and antquic --help"
}

gate_env() {
  code=$(./bootstrap.sh env)
  (
    cd /
    eval "$code"
    lua5.4 -e 'assert(require("antquic")._VERSION)'
    antquic --help >/dev/null
    antquic id --key "$logs/env.key" | grep -q .
  ) || fail "eval \"\$(./bootstrap.sh env)\" isn't enough"
  echo "require \"antquic\" and the antquic command work from /"
}

gate_demo() {
  start=$(date +%s)
  ./bootstrap.sh demo >"$logs/demo.out" 2>&1 || fail "$(tail -n 60 "$logs/demo.out")"
  took=$(($(date +%s) - start))
  cat "$logs/demo.out"
  grep -q direct "$logs/demo.out" || fail "the demo's path isn't direct"
  [ "$took" -lt 30 ] || fail "the demo took $took s"
  echo "direct path, $took s"
}

gate_natlab() {
  ./bootstrap.sh natlab --pairs quick --json "$logs/natlab.json" \
    >"$logs/natlab.out" 2>&1 || fail "$(tail -n 60 "$logs/natlab.out")"
  ./bootstrap.sh natlab --profiles >>"$logs/natlab.out" 2>&1 ||
    fail "$(tail -n 60 "$logs/natlab.out")"
  [ -s "$logs/natlab.json" ] || fail "the lab wrote no result"
  cat "$logs/natlab.out"
}

# --- running them -------------------------------------------------------------

case ${1:-} in
  list)
    echo $ALL
    exit 0
    ;;
  quick) gates=$QUICK ;;
  '') gates=$ALL ;;
  *) gates=$* ;;
esac
for gate in $gates; do
  case " $(echo $ALL) " in
    *" $gate "*) ;;
    *)
      echo "no gate '$gate'; there are: $(echo $ALL)" >&2
      exit 2
      ;;
  esac
done

mkdir -p "$logs"
deps=$(cmake/deps.sh) || exit 1
passed=0 failed=0 begun=$(date +%s)
for gate in $gates; do
  start=$(date +%s)
  log=$logs/$gate.log
  # A shell of its own, so that -e holds inside and nothing leaks out.
  set +e
  (
    set -e
    "gate_$(echo "$gate" | tr - _)"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  took=$(($(date +%s) - start))
  if [ $status = 3 ] && [ -z "${ANTQUIC_STRICT:-}" ]; then
    printf 'SKIP  %-12s %4d s  NOT CHECKED: %s\n' "$gate" "$took" "$(tail -n 1 "$log")"
  elif [ $status = 0 ]; then
    passed=$((passed + 1))
    printf 'ok    %-12s %4d s  %s\n' "$gate" "$took" "$(tail -n 1 "$log")"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-12s %4d s  (all of it: %s)\n' "$gate" "$took" "$log"
    tail -n 40 "$log" | sed 's/^/      | /'
  fi
done
echo "in $(($(date +%s) - begun)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
