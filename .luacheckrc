-- Library code sticks to what every Lua from 5.1 on has; tools and specs run
-- on Lua 5.4 only.
std = "min"
max_line_length = 100
cache = false

exclude_files = { "build", "lua/antquic/types.lua" }

files["bin"].std = "lua54"
files["examples"].std = "lua54"
files["bench"].std = "lua54"
files["spec"].std = "lua54"
files["spec/**/*_spec.lua"].std = "lua54+busted"
files["spec/helper.lua"].std = "lua54+busted"
files["spec/sched/contract.lua"].std = "lua54+busted"
files["rockspec"].std = "rockspec"
