-- SPDX-License-Identifier: MIT
--
-- Loaded by busted before any spec (.busted).
--   ANTQUIC_BUILD=DIR    the build whose module is tested (default build/dev)
--   ANTQUIC_SAMPLE=1     specs that make thousands of attempts make some: for runs
--                        where each takes a hundred times as long
--   ANTQUIC_GC=eager     the collector at its most eager: a new cycle begins as
--                        soon as one ends, and goes in the smallest steps

local build = os.getenv("ANTQUIC_BUILD") or "./build/dev"
package.cpath = build .. "/clib/?.so;" .. package.cpath

if os.getenv("ANTQUIC_GC") == "eager" then
  -- A zero would mean "leave it as it is".
  collectgarbage("incremental", 1, 1000, 3)
end
