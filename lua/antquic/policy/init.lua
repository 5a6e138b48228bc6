-- Policies: what to try, in which order, through whom. A policy is a table of
-- functions; what it lacks comes from the default one.
--
-- Choices are pure and may not wait. A strategy is a coroutine that waits only
-- through its session. An error in either is a policy_error event, and the
-- default decides.
--
-- SPDX-License-Identifier: MIT

local policy = {}

---@class antquic.Policy
---@field name string?
---@field connect (fun(s: antquic.Session): boolean?)? the strategy
---@field candidates (fun(view: table, list: table[]): table[])? which to advertise
---@field order (fun(view: table, pairs: table[]): table[])? which pairs to punch, best first
---@field coordinators (fun(view: table, list: table[]): table[])? whom to ask, best first
---@field accept (fun(view: table, peer: antquic.PeerIdObject): boolean|string)?
---@field keepalive (fun(view: table): number?)? seconds, 0 is off
---@field punch (fun(view: table): table)? schedule

local CHOICES = {
  candidates = "table",
  order = "table",
  coordinators = "table",
  accept = "boolean",
  keepalive = "number",
  punch = "table",
}

local function default()
  return require("antquic.policy.balanced")
end

local function is_callable(value)
  return type(value) == "function"
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
    elseif not is_callable(value) then
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

local function report(ep, name, which, text)
  local taken = ep._hub:emit({
    kind = "policy_error",
    time = ep._sched.now(),
    policy = name,
    choice = which,
    text = tostring(text):match("^[^\n]*"),
    traceback = tostring(text),
  })
  ep._policy_errors = ep._policy_errors + 1
  if not taken then
    ep._sched.on_error(("policy %s, %s: %s"):format(name, which, tostring(text)))
  end
end
policy.report = report

-- Calls |fn| in a coroutine that is no task, where a waiting call is an error,
-- whoever asks: the strategy asks in a task of its own.
local function call_choice(fn, view, arg)
  local co = coroutine.create(fn)
  local ok, result, extra = coroutine.resume(co, view, arg)
  if not ok then
    return false, debug.traceback(co, tostring(result))
  elseif coroutine.status(co) ~= "dead" then
    return false, "a choice may not yield"
  end
  return true, result, extra
end

--- Asks |p| for a choice. Where it lacks the function, fails, or gives another
--- type, the default policy answers.
function policy.choose(ep, p, which, view, arg)
  local fn = p[which]
  local fallback = default()[which]
  if fn and fn ~= fallback then
    local ok, result, extra = call_choice(fn, view, arg)
    if not ok then
      report(ep, p.name or "(unnamed)", which, result)
    elseif which == "accept" and (result == false or type(result) == "string") then
      return false, result or extra
    elseif type(result) == CHOICES[which] then
      return result, extra
    elseif result ~= nil then
      report(
        ep,
        p.name or "(unnamed)",
        which,
        ("%s gave a %s, a %s is expected"):format(which, type(result), CHOICES[which])
      )
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
