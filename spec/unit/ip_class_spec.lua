-- SPDX-License-Identifier: MIT

local ip_class = require("antquic.ip_class")

describe("antquic.ip_class", function()
  it("knows the class of an address", function()
    for ip, class in pairs({
      ["127.0.0.1"] = "self",
      ["0.0.0.0"] = "self",
      ["::1"] = "self",
      ["10.1.2.3"] = "private",
      ["172.15.0.1"] = "public",
      ["172.16.0.1"] = "private",
      ["172.31.0.1"] = "private",
      ["172.32.0.1"] = "public",
      ["192.168.0.1"] = "private",
      ["fd12:3456::1"] = "private",
      ["100.63.0.1"] = "public",
      ["100.64.0.1"] = "shared",
      ["100.127.0.1"] = "shared",
      ["100.128.0.1"] = "public",
      ["169.254.0.1"] = "link",
      ["fe80::1"] = "link",
      ["198.19.0.1"] = "reserved",
      ["203.0.113.7"] = "reserved",
      ["2001:db8::1"] = "reserved",
      ["2a00:1::1"] = "public",
      ["224.0.0.1"] = "other",
      ["ff02::1"] = "other",
    }) do
      assert.equal(class, ip_class.of(ip), ip)
    end
  end)

  it("knows the network", function()
    assert.equal("10.1.2", ip_class.network("10.1.2.3"))
    assert.equal("2001:db8:0:7", ip_class.network("2001:db8:0:7::1"))
    assert.equal(ip_class.network("fe80::1"), ip_class.network("fe80:0:0:0:1::"))
  end)

  it("says what means something in its own network alone", function()
    for _, near in ipairs({
      "127.0.0.1:5",
      "10.0.0.1:5",
      "100.64.0.1:5",
      "169.254.1.1:5",
      "[::1]:5",
      "[fe80::1%2]:5",
      "[fd00::7]:5",
    }) do
      assert.is_true(ip_class.is_near(near), near)
    end
    for _, far in ipairs({ "20.0.0.1:5", "[2a00:1::1]:5", "198.18.0.1:5", "?", "10.0.0:5", "" }) do
      assert.is_false(ip_class.is_near(far), far)
    end
  end)
end)
