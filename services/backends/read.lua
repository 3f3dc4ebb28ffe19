-- Reads the head and whatever is asked in one step. Never writes.
--
-- KEYS  1 pointer, 2 head, 3.. tables
-- ARGV  1 generation, 2 queries: {{name, key index, payload}, ...} in MessagePack, 3 bytes
-- Answer: {pointer or "0", head as HGETALL, one reply a query}; the head is empty where the generation is not live
--
--   hlen, hgetall    nothing             the command's reply
--   zcount           {low, high}         the command's reply
--   fields           {field, ...}        HMGET's replies, CHUNK fields each
--   moments          bytes: member 8     {member, moment, ...} of those that are there; the payload is {first, length}, and of a
--                                        pair of hashes (see apply.lua) also the second key's index, turns' index, name in turns

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

-- Asks a hash for members; returns those it has not. What it has goes to the end of found.
local function look_up(key, members, found)
  local missing, end_of_found = {}, #found
  for from = 1, #members, CHUNK do
    local last = min(from + CHUNK - 1, #members)
    local moments = call('HMGET', key, unpack(members, from, last))
    for i = from, last do
      local moment = moments[i - from + 1]
      if moment then
        found[end_of_found + 1], found[end_of_found + 2] = members[i], moment
        end_of_found = end_of_found + 2
      else
        missing[#missing + 1] = members[i]
      end
    end
  end
  return missing
end

function readers.moments(key, payload)
  local first, length, second, turns, name = unpack(payload)
  local members, found = {}, {}
  for from = 0, length / 8 - 1, CHUNK do
    local count = min(CHUNK, length / 8 - from)
    local some = { struct.unpack(string.rep('c8', count), ARGV[3], first + from * 8) }
    if from == 0 and count == length / 8 then
      members = some
      members[count + 1] = nil -- struct.unpack ends with the place it has come to
    else
      for i = 1, count do
        members[from + i] = some[i]
      end
    end
  end
  if not second then
    look_up(key, members, found)
    return found
  end
  -- What is written now holds over what was written before.
  local turn = call('HGET', KEYS[turns], name)
  local sides, written = { [0] = key, KEYS[second] }, turn and struct.unpack('>I1', turn) or 0
  look_up(sides[1 - written], look_up(sides[written], members, found), found)
  return found
end

local answer = { pointer, call('HGETALL', KEYS[2]) }
for _, query in ipairs(cmsgpack.unpack(ARGV[2])) do
  answer[#answer + 1] = readers[query[1]](KEYS[query[2]], query[3])
end
return answer
