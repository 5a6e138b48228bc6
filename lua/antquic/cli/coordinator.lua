-- antquic coordinator: introduces peers to each other.
--
-- SPDX-License-Identifier: MIT

local common = require("antquic.cli.common")
local parse = require("antquic.cli.parse")

return {
  name = "coordinator",
  summary = "introduce peers to each other",
  about = "Runs a coordinator until it is interrupted, at port 9000 where no --bind is\n"
    .. "given. Peers give its address with --bootstrap.\n"
    .. "It prints who comes and goes of those that speak 'antquic', as this command does;\n"
    .. "programs with a protocol of their own are introduced without a line.\n"
    .. "Where peers find no direct path it carries their packets (--no-relay: it doesn't).\n"
    .. "It sees who wants to reach whom, and never what they say.",
  args = {},
  options = {
    common.BIND,
    {
      "--second-port",
      "PORT",
      "one more port, for peers to measure their NATs with (default: the next one; 0: none)",
    },
    { "--no-relay", nil, "carry nothing between peers that find no direct path" },
    common.KEY,
    common.RESERVED,
    common.JSON,
  },
  examples = { "antquic coordinator --bind 0.0.0.0:9000" },
  run = function(given)
    given.bind = given.bind or { "0.0.0.0:9000", "[::]:9000" }
    local second, wrong = parse.number(given, "second_port", true, 0, 65535)
    if not second then
      return common.fail(given, wrong, "CONFIG")
    end
    local ep, message, code = common.endpoint(given, {
      role = "bootstrap",
      second_port = second ~= 0 and second,
      can_relay = not given.no_relay,
      bootstrap_nodes = {},
    })
    if not ep then
      return common.fail(given, message, code)
    end
    local addresses = ep:local_addresses()
    common.tell(
      given,
      "ready",
      ("coordinator %s\nlistening on %s"):format(ep.peer_id:hex(), table.concat(addresses, ", ")),
      { peer_id = ep.peer_id:hex(), addresses = addresses }
    )
    -- Who takes us for a peer to talk to shall hear that we aren't one.
    ep:serve(function(conn)
      for stream in conn:streams() do
        stream:reset(6)
        stream:stop(6)
        stream:close()
      end
    end)
    for ev in ep:events({ "connection_incoming", "connection_lost", "limit_hit" }) do
      if ev.kind == "limit_hit" then
        common.tell(given, "limit", "limit reached: " .. tostring(ev.text), { name = ev.text })
      else
        local here = ev.kind == "connection_incoming"
        local verb = here and "from" or "left"
        common.tell(
          given,
          here and "peer" or "gone",
          ("%s %s %s"):format(tostring(ev.peer_id), verb, tostring(ev.address)),
          { peer_id = ev.peer_id and ev.peer_id:hex(), address = ev.address }
        )
      end
    end
  end,
}
