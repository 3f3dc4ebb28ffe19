-- Reads the head and whatever is asked in one step. Never writes.
--
-- KEYS  1 pointer, 2 head, 3.. tables
-- ARGV  1 generation, then queries of three arguments: name, key index, payload
-- Answer: {pointer or "0", head as HGETALL, one reply a query}; the head is empty where the generation is not live
--
--   hlen, hgetall    nothing             the command's reply
--   zcount           {low, high}         the command's reply
--   fields           {field, ...}        HMGET's replies, CHUNK fields each
--   members          member 8, ...       HMGET's replies, CHUNK members each
-- Payloads as in apply.lua.

local CHUNK = 4000 -- arguments a call: unpack takes fewer than 8,000
local call, min = redis.call, math.min

local pointer = call('GET', KEYS[1]) or '0'
if pointer ~= ARGV[1] then
  return { pointer, {} }
end

local readers = {}

function readers.hlen(key) return call('HLEN', key) end
function readers.hgetall(key) return call('HGETALL', key) end

function readers.zcount(key, payload)
  local range = cmsgpack.unpack(payload)
  return call('ZCOUNT', key, range[1], range[2])
end

function readers.fields(key, payload)
  local fields, replies = cmsgpack.unpack(payload), {}
  for from = 1, #fields, CHUNK do
    replies[#replies + 1] = call('HMGET', key, unpack(fields, from, min(from + CHUNK - 1, #fields)))
  end
  return replies
end

function readers.members(key, payload)
  local replies = {}
  for from = 0, #payload / 8 - 1, CHUNK do
    local count = min(CHUNK, #payload / 8 - from)
    local members = { struct.unpack(string.rep('c8', count), payload, 1 + from * 8) }
    replies[#replies + 1] = call('HMGET', key, unpack(members, 1, count))
  end
  return replies
end

local answer = { pointer, call('HGETALL', KEYS[2]) }
for at = 2, #ARGV, 3 do
  answer[#answer + 1] = readers[ARGV[at]](KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2])
end
return answer
