-- antquic id: the peer id of a key file.
--
-- SPDX-License-Identifier: MIT

local antquic = require("antquic")
local common = require("antquic.cli.common")

return {
  name = "id",
  summary = "print your peer id; makes the key when there is none",
  about = "Prints the peer id of the key file: what others connect to. The key is\n"
    .. "made, readable by you alone, when there is none.",
  args = {},
  options = { common.KEY, common.JSON },
  examples = { "antquic id", "antquic id --key work.key" },
  run = function(given)
    local path = common.key_path(given)
    if not path then
      return common.fail(given, "no key file: give --key FILE, or set HOME", "CONFIG")
    end
    local me, message, code = antquic.identity.load(path)
    if not me then
      return common.fail(given, message, code)
    end
    common.tell(given, "id", me.peer_id:hex(), { peer_id = me.peer_id:hex(), key = path })
  end,
}
