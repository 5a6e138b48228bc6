// SPDX-License-Identifier: MIT
//
// StyLua has no package in Debian; its npm package is the library without a
// command. This is the command: node stylua.cjs MODULE [--check] FILE...
// Settings come from .stylua.toml (only the flat ones, which is all we use).
"use strict";
const fs = require("fs");
const path = require("path");

const args = process.argv.slice(2);
const stylua = require(path.resolve(args.shift()));
const check = args[0] === "--check" && args.shift() !== undefined;

const enums = {
  syntax: stylua.LuaVersion,
  line_endings: stylua.LineEndings,
  indent_type: stylua.IndentType,
  quote_style: stylua.QuoteStyle,
  call_parentheses: stylua.CallParenType,
  collapse_simple_statement: stylua.CollapseSimpleStatement,
};

const settings = {};
for (const line of fs.readFileSync(".stylua.toml", "utf8").split("\n")) {
  const m = line.match(/^(\w+)\s*=\s*"?(\w+)"?\s*$/);
  if (m) {
    const value = enums[m[1]] ? enums[m[1]][m[2]] : Number(m[2]);
    if (value === undefined || Number.isNaN(value)) {
      throw new Error(`.stylua.toml: ${line}`);
    }
    settings[m[1]] = value;
  }
}

// The library takes a configuration for itself: each file needs its own.
const config = () => Object.assign(stylua.Config.new(), settings);

let bad = 0;
for (const file of args) {
  const text = fs.readFileSync(file, "utf8");
  // A first line for the kernel isn't Lua.
  const shebang = text.startsWith("#") ? text.slice(0, text.indexOf("\n") + 1) : "";
  const body = text.slice(shebang.length);
  try {
    const made =
      shebang + stylua.formatCode(body, config(), undefined, stylua.OutputVerification.Full);
    if (made !== text) {
      if (check) {
        const a = text.split("\n");
        const b = made.split("\n");
        const at = a.findIndex((line, i) => line !== b[i]);
        console.log(`${file}:${at + 1}: not as StyLua writes it:\n  - ${a[at]}\n  + ${b[at]}`);
        bad += 1;
      } else {
        fs.writeFileSync(file, made);
      }
    }
  } catch (e) {
    console.log(`${file}: ${e.message || e}`);
    bad += 1;
  }
}
console.log(`${args.length} files, ${bad} not formatted`);
process.exit(bad === 0 ? 0 : 1);
