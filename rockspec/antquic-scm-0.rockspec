rockspec_format = "3.0"
package = "antquic"
version = "scm-0"

-- Built from a checkout: `luarocks make rockspec/antquic-scm-0.rockspec`.
source = {
  url = "git+file://.",
}

description = {
  summary = "Authenticated QUIC connections to peers by public key, through NATs",
  detailed = [[
    Peers are named by their public keys. They find each other with the help of a
    coordinator that both can reach, punch through their NATs, and then talk over
    QUIC directly: streams, datagrams, one connection that survives rebinding.
  ]],
  license = "MIT",
  labels = { "quic", "p2p", "nat-traversal", "networking" },
}

supported_platforms = { "unix" }

dependencies = {
  "lua >= 5.4, < 5.5",
}

external_dependencies = {
  UV = { header = "uv.h" },
}

-- cmake/deps.sh builds ngtcp2 and wolfSSL from their pinned archives, once, in
-- $ANTQUIC_CACHE; no network is needed when the archives are there.
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LIBDIR = "$(LIBDIR)",
    LUADIR = "$(LUADIR)",
    BINDIR = "$(BINDIR)",
    INCDIR = "",
  },
}

test = {
  type = "command",
  command = "./bootstrap.sh test busted",
}
