-- What one side's record says of how an attempt went: the explanation that
-- ep:explain() would have given.
--
-- SPDX-License-Identifier: MIT

local explain = require("antquic.explain")
local side = require("antquic.trace.side")

local text, number = side.text, side.number

local told = {}

local function steps_of(over)
  local out = {}
  for _, s in ipairs(side.list(over and over.steps)) do
    local at, duration = number(s.at), number(s.duration)
    if at and text(s.step) then
      out[#out + 1] = {
        step = text(s.step),
        won = s.won == true,
        error = text(s.error),
        started = at,
        ended = duration and at + duration,
        addr = text(s.address),
        sent = number(s.sent),
        received = number(s.received),
        attempt = number(s.attempt),
        pairs = number(s.pairs),
        heard = number(s.heard),
        unusable = number(s.unusable),
        refused = number(s.refused),
        limit = text(s.limit),
        text = text(s.text),
      }
    end
  end
  return out
end

local function pairs_of(over)
  local out = {}
  for _, p in ipairs(side.list(over and over.pairs)) do
    out[#out + 1] = {
      remote = text(p.remote),
      remote_source = text(p.remote_source),
      verified = p.verified == true,
      state = text(p.state),
      sent = number(p.sent) or 0,
      received = number(p.received) or 0,
      refused = number(p.refused) or 0,
      limit = text(p.limit),
      error = text(p.error),
    }
  end
  return out
end

-- Profiles that the control messages or the record told.
local function profiles_of(attempt)
  local mine, theirs
  local function tame(p)
    if type(p) ~= "table" then
      return nil
    end
    return {
      mapping = text(p.mapping),
      filtering = text(p.filtering),
      allocation = text(p.allocation),
      hairpin = p.hairpin,
    }
  end
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "profile" then
      if entry.side == "local" then
        mine = tame(entry.profile)
      elseif entry.side == "remote" then
        theirs = tame(entry.profile)
      end
    elseif entry.e == "control_sent" and (entry.type == "REQUEST" or entry.type == "REGISTER") then
      mine = tame(entry.profile) or mine
    elseif entry.type == "ANSWER" or entry.type == "OFFER" then
      theirs = tame(entry.profile) or theirs
    end
  end
  return mine, theirs
end

-- The peer's candidates, as the coordinator told them.
local function remote_of(attempt)
  local out, after = {}, nil
  for _, entry in ipairs(attempt.entries) do
    if entry.e == "candidate" and after and text(entry.address) then
      out[#out + 1] = {
        address = text(entry.address),
        source = text(entry.source),
        verified = entry.verified == true,
      }
    elseif entry.e == "control_received" and (entry.type == "ANSWER" or entry.type == "OFFER") then
      out, after = {}, true
    elseif entry.e ~= "candidate" then
      after = nil
    end
  end
  return out
end

--- What one side's record says of how an attempt went, as ep:explain() would.
function told.explain(s, attempt)
  local over, ended = attempt.over, attempt.ended
  local sockets = {}
  for _, address in ipairs(type(s.header.sockets) == "table" and s.header.sockets or {}) do
    sockets[#sockets + 1] = text(address)
  end
  local facts = {
    records = steps_of(over),
    pairs = pairs_of(over),
    remote = remote_of(attempt),
    nodes = s.node_list,
    sockets = sockets,
    same_nat = over and over.same_nat == true,
    duration = attempt.finish - attempt.start,
    without_steps = "the record tells of no step",
  }
  facts.mine, facts.theirs = profiles_of(attempt)
  facts.outcome = "running"
  local last = attempt.phases[#attempt.phases]
  local phase = over and text(over.phase)
  -- What moves a connection is no session of the program: its phases tell the end.
  if not over and not ended and not attempt.initiator and last then
    phase = last.name
    facts.text = (phase == "connected" or phase == "failed") and last.text or nil
  end
  if phase == "connected" or (ended and ended.kind == "traversal_succeeded") then
    facts.outcome = "connected"
  elseif phase == "failed" or ended then
    facts.outcome = "failed"
    facts.error = ended and text(ended.error) or "TRAVERSAL_FAILED"
    facts.text = ended and text(ended.text) or facts.text
  end
  facts.title = ("attempt %s: %s after %.3f s%s"):format(
    attempt.session,
    facts.outcome,
    facts.duration,
    facts.text and ": " .. facts.text or ""
  )
  return explain.of(facts)
end

return told
