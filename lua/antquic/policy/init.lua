-- Policies: what to try, in which order, through whom. A policy is a table of
-- functions; what it lacks comes from the default one.
--
-- Choices are pure and may not wait. A strategy is a coroutine that waits only
-- through its session. An error in either is a policy_error event, and the
-- default decides. So is an answer that isn't one, and a loop without end.
--
-- SPDX-License-Identifier: MIT

local compat = require("antquic.compat")
local limit = require("antquic.policy.limit")
local options = require("antquic.options")

local policy = {}

---@class antquic.Policy
---@field name string?
---@field connect (fun(s: antquic.Session): boolean?)? the strategy
---@field candidates (fun(view: antquic.PolicyView, list: table[]): table[])? which to advertise
---@field order (fun(view: antquic.PolicyView, pairs: table[]): table[])? which to punch, best first
---@field coordinators (fun(view: antquic.PolicyView, list: table[]): table[])? whom to ask
---@field accept (fun(view: antquic.PolicyView, peer: antquic.PeerIdObject): boolean|string)?
---@field keepalive (fun(view: antquic.PolicyView): number?)? seconds, 0 is off
---@field punch (fun(view: antquic.PolicyView): table)? schedule

---@class antquic.PolicyView
---@field endpoint antquic.Endpoint
---@field me antquic.PeerIdObject
---@field role string
---@field now number the clock of events
---@field peer_id antquic.PeerIdObject? the other one, where there is one

--- The schedule of a punch. Numbers out of range are held to it by the core.
policy.PUNCH = {
  rounds = { type = "number" },
  spacing = { type = "number" },
  openers = { type = "number" },
  opener_ttl = { type = "number" },
  opener_lead = { type = "number" },
  timeout = { type = "number" },
}

-- Longer lists than this are cut; nothing has as many.
local MAX_LIST = 256
local DAY = 86400

local function of_type(result, wanted)
  if type(result) ~= wanted then
    return ("gave a %s, a %s is expected"):format(type(result), wanted)
  end
end

-- A list of tables that each have a text |field|.
local function list_of(field)
  return function(result)
    local wrong = of_type(result, "table")
    if wrong then
      return nil, wrong
    end
    local list = {}
    for i = 1, math.min(#result, MAX_LIST) do
      local item = result[i]
      if type(item) ~= "table" or type(item[field]) ~= "string" then
        return nil, ("gave a list whose entry %d has no %s"):format(i, field)
      end
      list[i] = item
    end
    return list
  end
end

-- By choice: from what a policy gave to the answer; nil and why it is none.
local CHOICES = {
  candidates = list_of("address"),
  order = list_of("remote"),
  coordinators = list_of("address"),
  accept = function(result, why)
    if type(result) == "string" then
      return false, nil, result
    end
    local wrong = of_type(result, "boolean")
    if wrong then
      return nil, wrong
    end
    return result, nil, why
  end,
  keepalive = function(result)
    local wrong = of_type(result, "number")
    if wrong then
      return nil, wrong
    elseif result ~= result or result < 0 then
      return nil, ("gave %s, seconds are expected, 0 or more"):format(tostring(result))
    end
    return math.min(result, DAY)
  end,
  punch = function(result)
    local wrong = of_type(result, "table")
    if wrong then
      return nil, wrong
    end
    return options.check("punch", policy.PUNCH, result)
  end,
}

local function default()
  return require("antquic.policy.balanced")
end

--- Raises where |p| isn't a policy.
---@param p table
---@param who string
---@param level integer?
function policy.check(p, who, level)
  level = (level or 1) + 1
  if type(p) ~= "table" then
    error(who .. ": a policy is a table of functions, got " .. type(p), level)
  end
  for key, value in pairs(p) do
    if key == "name" then
      if type(value) ~= "string" then
        error(who .. ": a policy's name is a string", level)
      end
    elseif key ~= "connect" and not CHOICES[key] then
      error(
        (
          "%s: a policy has no '%s' (known: accept, candidates, connect, coordinators, "
          .. "keepalive, name, order, punch)"
        ):format(who, tostring(key)),
        level
      )
    elseif type(value) ~= "function" then
      error(("%s: a policy's '%s' must be a function, got %s"):format(who, key, type(value)), level)
    end
  end
  return p
end

--- A policy that is |base| with some functions replaced.
---@param base antquic.Policy
---@param changes antquic.Policy
---@return antquic.Policy
function policy.extend(base, changes)
  policy.check(base, "antquic.policy.extend", 2)
  policy.check(changes, "antquic.policy.extend", 2)
  local out = {}
  for key, value in pairs(base) do
    out[key] = value
  end
  for key, value in pairs(changes) do
    out[key] = value
  end
  return out
end

-- Where a function is written; a call in a tail ("return s:dial(...)") leaves no
-- other trace of its line.
local function place(fn)
  local info = fn and debug.getinfo(fn, "S")
  return info and ("%s:%d"):format(info.short_src, info.linedefined)
end

local function report(ep, p, which, text)
  text = compat.text(text)
  local name, source = p.name or "(unnamed)", place(p[which])
  local taken = ep._hub:emit({
    kind = "policy_error",
    time = ep._sched.now(),
    policy = name,
    choice = which,
    source = source,
    text = text:match("^[^\n]*"),
    traceback = text,
  })
  ep._policy_errors = ep._policy_errors + 1
  if not taken then
    ep._sched.on_error(("policy %s, %s (%s): %s"):format(name, which, source or "?", text))
  end
end
policy.report = report

-- What a policy gets is its own: it may change it and fail then.
local function copy(value, depth)
  if type(value) ~= "table" or depth == 0 or getmetatable(value) then
    return value
  end
  local out = {}
  for k, v in pairs(value) do
    out[k] = copy(v, depth - 1)
  end
  return out
end

local TOO_LONG = ("a choice took more than %d instructions"):format(limit.CHOICE)

-- Calls |fn| in a coroutine that is no task, where a waiting call is an error,
-- whoever asks: the strategy asks in a task of its own. Its answer is looked at
-- there too, since it may be a table with a mind of its own.
local function call_choice(fn, check, view, arg)
  local co = coroutine.create(function()
    local result, extra = fn(view, arg)
    if result == nil then
      return nil
    end
    return check(result, extra)
  end)
  limit.once(co, limit.CHOICE, TOO_LONG)
  local ok, result, wrong, extra = coroutine.resume(co)
  if not ok then
    return nil, debug.traceback(co, compat.text(result))
  elseif coroutine.status(co) ~= "dead" then
    return nil, "a choice may not yield"
  end
  return result, wrong, extra
end

--- Asks |p| for a choice. Where it lacks the function, gives nil, fails, or gives
--- what is no answer, the default policy answers.
function policy.choose(ep, p, which, view, arg)
  local fn = p[which]
  local fallback = default()[which]
  if fn and fn ~= fallback then
    local result, wrong, extra = call_choice(fn, CHOICES[which], view, copy(arg, 2))
    if wrong then
      report(ep, p, which, wrong)
    elseif result ~= nil then
      return result, extra
    end
  end
  return fallback(view, arg)
end

-- antquic.policy.balanced and the others load when they are named.
local SHIPPED = { balanced = true, lan_first = true, patient = true, quick = true }

return setmetatable(policy, {
  __index = function(_, name)
    if SHIPPED[name] then
      local p = require("antquic.policy." .. name)
      policy[name] = p
      return p
    end
    local known = "balanced, lan_first, patient, quick"
    error(("antquic.policy has no '%s' (there are %s)"):format(tostring(name), known), 2)
  end,
})
