-- Reads the head and whatever is asked in one step. Never writes.
--
-- KEYS  1 pointer, 2 head, 3.. tables
-- ARGV  1 generation, then queries: name, key index, count, that many arguments
-- Answer: {pointer or "0", head as HGETALL, one reply a query}; the head is empty where the generation is not live

local CHUNK = 2000
local COMMANDS = { hmget = 'HMGET', zmscore = 'ZMSCORE' }

local pointer = redis.call('GET', KEYS[1]) or '0'
local answer = { pointer, {} }
if pointer ~= ARGV[1] then
  return answer
end
answer[2] = redis.call('HGETALL', KEYS[2])
local at = 2
while at <= #ARGV do
  local name, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local first, last = at + 3, at + 2 + count
  local reply
  if name == 'hlen' then
    reply = redis.call('HLEN', key)
  elseif name == 'hgetall' then
    reply = redis.call('HGETALL', key)
  elseif name == 'zcount' then
    reply = redis.call('ZCOUNT', key, ARGV[first], ARGV[first + 1])
  else
    reply = {}
    for from = first, last, CHUNK do
      local values = redis.call(COMMANDS[name], key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
      for i = 1, #values do
        reply[#reply + 1] = values[i]
      end
    end
  end
  answer[#answer + 1] = reply
  at = at + 3 + count
end
return answer
