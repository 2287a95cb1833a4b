-- SPDX-License-Identifier: MIT
--
-- A dissector for the Scalability Protocols over TCP (sp-tcp-mapping-01): what PF_SP,
-- nanomsg and nng speak. Both ends greet, then each message is its length, 64 bits,
-- and that many bytes: the tags of the pattern, and the body.
--
-- A connection is recognised by its greetings. Of one that was captured from the
-- middle on neither end is known, and tags are not told from bodies: give its port in
-- the preferences, or use "Decode As".
--
-- Copy it into Wireshark's folder of plugins, or: tshark -X lua_script:sp.lua

local sp = Proto("sp", "Scalability Protocols")

local types = {
	[0x10] = "PAIR", [0x11] = "PAIRv1", [0x20] = "PUB", [0x21] = "SUB",
	[0x30] = "REQ", [0x31] = "REP", [0x50] = "PUSH", [0x51] = "PULL",
	[0x62] = "SURVEYOR", [0x63] = "RESPONDENT", [0x70] = "BUS",
}

-- What is in front of a body, by the type of who sends it: a stack of tags that ends
-- with the one whose top bit is set, or one word that counts devices.
local stacked = { [0x30] = true, [0x31] = true, [0x62] = true, [0x63] = true }
local counted = { [0x11] = true }

local GREETING, HEADER, TAG = 8, 8, 4

-- What can be no length of a message, but may be meant as one.
local LONGEST = 0x7fffffff

local f = sp.fields
f.type = ProtoField.uint16("sp.type", "Type", base.HEX, types)
f.length = ProtoField.uint64("sp.length", "Length")
f.tag = ProtoField.uint32("sp.tag", "Pipe", base.HEX)
f.id = ProtoField.uint32("sp.id", "ID", base.HEX)
f.hops = ProtoField.uint32("sp.hops", "Hops")
f.body = ProtoField.bytes("sp.body", "Body")
f.text = ProtoField.string("sp.text", "Text")

local malformed = ProtoExpert.new("sp.malformed", "Tags without an end",
	expert.group.MALFORMED, expert.severity.ERROR)
local reserved = ProtoExpert.new("sp.reserved", "Reserved bytes that are not zero",
	expert.group.MALFORMED, expert.severity.ERROR)
local endless = ProtoExpert.new("sp.endless", "A length that nobody can mean",
	expert.group.MALFORMED, expert.severity.ERROR)
sp.experts = { malformed, reserved, endless }

sp.prefs.ports = Pref.range("TCP ports", "", "Ports where SP is spoken, besides where greetings are seen", 65535)

local stream = Field.new("tcp.stream")

-- The type of each end, by connection and source port.
local ends = {}

function sp.init()
	ends = {}
end

local function end_of(pinfo)
	return tostring(stream()) .. ":" .. pinfo.src_port
end

-- No length of a message looks like that: it would be 23 petabytes.
local function is_greeting(tvb)
	return tvb:len() >= 4 and tvb(0, 4):uint() == 0x00535000
end

-- The first one in a packet takes the place of what TCP has said.
local noted = false

local function note(pinfo, text)
	if noted then
		pinfo.cols.info:append(", " .. text)
	else
		pinfo.cols.info:set(text)
	end
	noted = true
end

local function dissect_greeting(tvb, pinfo, tree)
	local kind = tvb(4, 2):uint()
	local name = types[kind] or string.format("type 0x%x", kind)

	ends[end_of(pinfo)] = kind
	tree = tree:add(sp, tvb(), "Scalability Protocols, " .. name .. " greets")
	tree:add(f.type, tvb(4, 2))
	if tvb(6, 2):uint() ~= 0 then
		tree:add_proto_expert_info(reserved)
	end
	note(pinfo, name .. " greets")
end

-- Adds the tags and returns where the body begins.
local function dissect_tags(tvb, tree, kind)
	local at = HEADER

	if counted[kind] and tvb:len() >= at + TAG then
		tree:add(f.hops, tvb(at, TAG))
		return at + TAG, ""
	end
	if not stacked[kind] then
		return at, ""
	end
	while tvb:len() >= at + TAG do
		local tag = tvb(at, TAG)

		at = at + TAG
		if tag:bitfield(0, 1) == 1 then
			tree:add(f.id, tag)
			return at, string.format(" id 0x%08x", tag:uint())
		end
		tree:add(f.tag, tag)
	end
	tree:add_proto_expert_info(malformed)
	return at, ""
end

local function dissect_message(tvb, pinfo, tree)
	local kind = ends[end_of(pinfo)]
	local name = types[kind] or "message"
	local at, id

	tree = tree:add(sp, tvb(), "Scalability Protocols, " .. name)
	tree:add(f.length, tvb(0, HEADER))
	if tvb(0, HEADER):uint64() ~= UInt64(tvb:len() - HEADER) then
		tree:add_proto_expert_info(endless)
		note(pinfo, name .. " of a length that nobody can mean")
		return
	end
	at, id = dissect_tags(tvb, tree, kind)
	if tvb:len() > at then
		local body = tvb(at)

		tree:add(f.body, body)
		if not body:bytes():tohex():gsub("%x%x", "%0 "):find("[01]%x ") then
			tree:add(f.text, body)
		end
	end
	note(pinfo, string.format("%s%s %d bytes", name, id, tvb:len() - at))
end

local function length_of(tvb, _, offset)
	local rest = tvb(offset)
	local length

	if is_greeting(rest:tvb()) then
		return GREETING
	end
	length = rest(0, HEADER):uint64()
	-- It is shown as what it is, with what is there.
	if length > UInt64(LONGEST) then
		return rest:len()
	end
	return HEADER + length:tonumber()
end

local function dissect_one(tvb, pinfo, tree)
	if is_greeting(tvb) then
		dissect_greeting(tvb, pinfo, tree)
	else
		dissect_message(tvb, pinfo, tree)
	end
	return tvb:len()
end

function sp.dissector(tvb, pinfo, tree)
	pinfo.cols.protocol = "SP"
	noted = false
	dissect_tcp_pdus(tvb, tree, HEADER, length_of, dissect_one)
	return tvb:len()
end

sp:register_heuristic("tcp", function(tvb, pinfo, tree)
	if not is_greeting(tvb) then
		return false
	end
	pinfo.conversation = sp
	sp.dissector(tvb, pinfo, tree)
	return true
end)

local ports = DissectorTable.get("tcp.port")
local given = ""
ports:add(given, sp)

function sp.prefs_changed()
	ports:remove(given, sp)
	given = sp.prefs.ports
	ports:add(given, sp)
end
