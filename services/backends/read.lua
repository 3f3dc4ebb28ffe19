-- Reads the head and whatever is asked in one step. Never writes.
--
-- KEYS  1 pointer, 2 head, 3.. tables
-- ARGV  1 generation, 2 queries: {{name, key index, payload}, ...} in MessagePack, 3 bytes
-- Answer: {pointer or "0", head as HGETALL, one reply a query}; the head is empty where the generation is not live
--
--   hlen, hgetall    nothing             the command's reply
--   zcount           {low, high}         the command's reply
--   fields           {field, ...}        HMGET's replies, CHUNK fields each
--   members          bytes: member 8     HMGET's replies, CHUNK members each; the payload is {first, length}

local CHUNK = 4000 -- arguments a call: unpack takes fewer than 8,000
local call, min = redis.call, math.min

local pointer = call('GET', KEYS[1]) or '0'
if pointer ~= ARGV[1] then
  return { pointer, {} }
end

local readers = {}

function readers.hlen(key) return call('HLEN', key) end
function readers.hgetall(key) return call('HGETALL', key) end

function readers.zcount(key, range) return call('ZCOUNT', key, range[1], range[2]) end

function readers.fields(key, fields)
  local replies = {}
  for from = 1, #fields, CHUNK do
    replies[#replies + 1] = call('HMGET', key, unpack(fields, from, min(from + CHUNK - 1, #fields)))
  end
  return replies
end

function readers.members(key, place)
  local replies, first, units = {}, place[1], place[2] / 8
  for from = 0, units - 1, CHUNK do
    local count = min(CHUNK, units - from)
    local members = { struct.unpack(string.rep('c8', count), ARGV[3], first + from * 8) }
    replies[#replies + 1] = call('HMGET', key, unpack(members, 1, count))
  end
  return replies
end

local answer = { pointer, call('HGETALL', KEYS[2]) }
for _, query in ipairs(cmsgpack.unpack(ARGV[2])) do
  answer[#answer + 1] = readers[query[1]](KEYS[query[2]], query[3])
end
return answer
