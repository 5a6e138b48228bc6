-- antquic ping: round-trip times to a peer.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")
local parse = require("antquic.cli.parse")
local plural = require("antquic.plural")

return {
  name = "ping",
  summary = "reach a peer and measure the round-trip time",
  about = "Reaches a peer, says over which path, and measures the round-trip time of an\n"
    .. "authenticated exchange, smoothed over the last ones (RFC 9002). The peer may run\n"
    .. "any program that accepts connections.",
  args = { { "PEER", "a peer id, an address, or PEERID@ADDRESS" } },
  options = {
    common.BOOTSTRAP,
    { "--count", "N", "how many times (default 4)" },
    { "--interval", "SECONDS", "pause in between (default 1)" },
    common.EXPLAIN,
    common.RECORD,
    common.TIMEOUT,
    common.BIND,
    common.KEY,
    common.RESERVED,
    common.JSON,
  },
  examples = { "antquic ping 4f1d...c2 --bootstrap 198.51.100.1:9000 --count 10" },
  run = function(given)
    local timeout, wrong = common.timeout(given, 10)
    local count, interval
    if timeout then
      count, wrong = parse.number(given, "count", 4, 1, 1e6)
    end
    if count then
      interval, wrong = parse.number(given, "interval", 1, 0, 3600)
    end
    if not interval then
      return common.fail(given, wrong, "CONFIG")
    end
    local ep, conn, text, data = common.reach(given, timeout)
    if not ep then
      return conn
    end
    common.tell(
      given,
      "connected",
      ("connected to %s, after %.0f ms"):format(text, data.seconds * 1e3),
      data
    )
    if given.explain and not given.json then
      print(tostring(conn:explain()))
    end
    local message, code
    local best, worst, sum, done = math.huge, 0, 0, 0
    for i = 1, count do
      local rtt
      rtt, message, code = conn:ping(timeout)
      if not rtt then
        break
      end
      done = done + 1
      best, worst, sum = math.min(best, rtt), math.max(worst, rtt), sum + rtt
      common.tell(given, "pong", ("%d: %.3f ms"):format(i, rtt * 1e3), { number = i, rtt = rtt })
      if i < count then
        antquic.sleep(interval)
      end
    end
    ep:shutdown(1)
    if done == 0 or code then
      return common.fail(given, message, code)
    end
    common.tell(
      given,
      "summary",
      ("%s, rtt min %.3f avg %.3f max %.3f ms"):format(
        plural(done, "answer"),
        best * 1e3,
        sum / done * 1e3,
        worst * 1e3
      ),
      { count = done, min = best, avg = sum / done, max = worst }
    )
  end,
}
