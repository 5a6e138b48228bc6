-- matrix.lua - which pairs of types must connect directly.
--
--   Y  punchable without guessing: must connect, every time, whoever dials
--   B  one random port to be guessed (birthday)       P  a sequence to be predicted
--   p  two sequences, only while both NATs are quiet  -  not punchable at all
--   r  an address pool: from new sockets, by luck
--
-- B, P and r must connect nearly always and in time; "-" must fail, clearly and soon. The table is
-- symmetric; self-test compares its Ys with the rule below it and with real packets.
--
-- SPDX-License-Identifier: MIT

local pairing = require "antquic.sim.pairs"
local types = require "types"

local matrix = {}

local COLUMNS = [[
              none  fwo  full addr port linx lrej lopn  mapf maf  srnd sseq  seif sadf  blkd]]
local ROWS = [[
none          Y     Y    Y    Y    Y    Y    Y    Y     Y    Y    Y    Y     Y    Y     -
fw_only       Y     Y    Y    Y    Y    Y    Y    Y     B    B    B    P     Y    B     -
full_cone     Y     Y    Y    Y    Y    Y    Y    Y     Y    Y    Y    Y     Y    Y     -
addr_restr    Y     Y    Y    Y    Y    Y    Y    Y     Y    Y    Y    Y     Y    Y     -
port_restr    Y     Y    Y    Y    Y    Y    Y    Y     B    B    B    P     Y    B     -
linux         Y     Y    Y    Y    Y    Y    Y    Y     B    B    B    P     Y    B     -
linux_reject  Y     Y    Y    Y    Y    Y    Y    Y     B    B    B    P     Y    B     -
linux_open    Y     Y    Y    Y    Y    Y    Y    Y     B    B    B    P     Y    B     -
adm_apdf      Y     B    Y    Y    B    B    B    B     -    -    -    -     Y    -     -
adm_adf       Y     B    Y    Y    B    B    B    B     -    -    -    -     Y    -     -
sym_rand      Y     B    Y    Y    B    B    B    B     -    -    -    -     Y    -     -
sym_seq       Y     P    Y    Y    P    P    P    P     -    -    -    p     Y    -     -
sym_eif       Y     Y    Y    Y    Y    Y    Y    Y     Y    Y    Y    Y     Y    Y     -
sym_adf       Y     B    Y    Y    B    B    B    B     -    -    -    -     Y    -     -
udp_blocked   -     -    -    -    -    -    -    -     -    -    -    -     -    -     -
]]
matrix.columns = COLUMNS

local goal = {}
for line in ROWS:gmatch("[^\n]+") do
  local name, marks = line:match("^(%S+)%s+(.*)$")
  goal[name] = {}
  local i = 0
  for mark in marks:gmatch("%S") do
    i = i + 1
    goal[name][types.matrix[i]] = mark
  end
  assert(i == #types.matrix, "matrix.lua: wrong number of columns: " .. name)
end

-- Types outside the table, by the rule.
local function reaches(x, y)
  -- does a packet of X get through to the address that a coordinator saw of Y?
  if y.filtering == "EIF" then
    return true
  elseif y.mapping == "EIM" or y.mapping == "none" then
    return x.mapping == "EIM"
      or x.mapping == "none"
      or (y.filtering == "ADF" and x.mapping ~= "arbitrary address")
  end
  return false
end

--- RFC 4787 reasoning: one direction is enough, the answer goes where the packet came from.
function matrix.punchable(a, b)
  local x, y = types.by_name[a], types.by_name[b]
  if x.mapping == "blocked" or y.mapping == "blocked" or (x.v6 or false) ~= (y.v6 or false) then
    return false
  end
  return reaches(x, y) or reaches(y, x)
end

--- The mark of a pair: "Y", "B", "P", "p", "r" or "-".
function matrix.mark(a, b)
  if goal[a] and goal[a][b] then
    return goal[a][b]
  end
  local x, y = types.by_name[a], types.by_name[b]
  if matrix.punchable(a, b) then
    return "Y"
  end
  local keeps = { EIM = true, none = true, ["arbitrary address"] = true }
  return keeps[x.mapping] and keeps[y.mapping] and "r" or "-"
end

--- Must the pair connect directly?
function matrix.must(a, b)
  return matrix.mark(a, b) == "Y"
end

--- Must it connect nearly always?
function matrix.must_mostly(a, b)
  local mark = matrix.mark(a, b)
  return mark == "B" or mark == "P" or mark == "r"
end

--- Must it fail?
function matrix.must_not(a, b)
  return matrix.mark(a, b) == "-"
end

--- Does the initiator's first packet get through to the address that a coordinator saw of the
--- target, once that has opened its NAT? If not, the target's packet has to come first.
function matrix.first_packet_arrives(a, b)
  return reaches(types.by_name[a], types.by_name[b])
end

--- Parses "a:b,c:d", "quick" or "all". Returns nil and a message when a type is unknown.
function matrix.parse(text)
  local names = table.move(types.matrix, 1, #types.matrix, 1, {})
  return pairing.parse(text, table.move(types.extra, 1, #types.extra, #names + 1, names))
end

--- Entries of the table that contradict its symmetry or the rule; empty when all is well.
function matrix.contradictions()
  local bad = {}
  for _, pair in ipairs(pairing.all()) do
    local a, b = pair[1], pair[2]
    if goal[a][b] ~= goal[b][a] then
      bad[#bad + 1] = ("%s:%s is not symmetric"):format(a, b)
    elseif (goal[a][b] == "Y") ~= matrix.punchable(a, b) then
      bad[#bad + 1] = ("%s:%s is marked %s against the rule"):format(a, b, goal[a][b])
    end
  end
  return bad
end

return matrix
