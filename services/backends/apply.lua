-- Applies one batch in one step: check everything, then write, the head last (DESIGN 3.2, 3.6).
-- A script is not rolled back, so nothing after the first write may fail.
--
-- KEYS  1 pointer, 2 head, 3.. tables
-- ARGV  1 generation, 2 parameters, 3-5 fence before (log id, position, fingerprint), 6-7 fence after (position,
--       fingerprint), 8 as_of, 9 log_time, 10 id_window, then operations: name, key index, count, that many arguments
-- Answer: {"applied"} {"already"} {"miss", generation, log id, position, fingerprint} {"corrupt", key, what}

local CHUNK = 2000 -- arguments a call: unpack takes fewer than 8,000
local COUNTER_MAX = 9007199254740991 -- integers are exact in doubles up to here
local TYPES = { add = 'hash', set = 'hash', del = 'hash', score = 'zset', forget = 'zset', member = 'set' }

local pointer = redis.call('GET', KEYS[1])
local head = redis.call('HMGET', KEYS[2], 'log_id', 'position', 'fingerprint', 'parameters', 'as_of')
if pointer ~= ARGV[1] or not head[2] then
  return { 'miss', pointer or '0' }
end
if head[1] == ARGV[3] and head[2] == ARGV[6] and head[3] == ARGV[7] then
  return { 'already' }
end
if head[1] ~= ARGV[3] or head[2] ~= ARGV[4] or head[3] ~= ARGV[5] or head[4] ~= ARGV[2] then
  return { 'miss', pointer, head[1], head[2], head[3] }
end

-- A touch may have come since the batch was decided: as_of never goes back.
local as_of = ARGV[8]
if tonumber(head[5]) > tonumber(as_of) then
  as_of = head[5]
end

-- Phase 1: types of all keys, and the sums of all additive fields.
local sums = {}
local at = 11
while at <= #ARGV do
  local name, index, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local key = KEYS[index]
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= TYPES[name] then
    return { 'corrupt', key, 'is a ' .. kind .. ', not a ' .. TYPES[name] }
  end
  if name == 'add' then
    local written = {}
    for from = 1, count, CHUNK do
      local fields = {}
      for offset = from, math.min(from + CHUNK - 1, count), 2 do
        fields[#fields + 1] = ARGV[at + 2 + offset]
      end
      local values = redis.call('HMGET', key, unpack(fields))
      for i, field in ipairs(fields) do
        local value = 0
        if values[i] then
          if not string.match(values[i], '^%-?%d+$') then
            return { 'corrupt', key, 'field ' .. field .. ' is no number' }
          end
          value = tonumber(values[i])
        end
        local sum = value + tonumber(ARGV[at + 2 + from + (i - 1) * 2 + 1])
        if sum > COUNTER_MAX or sum < -COUNTER_MAX then
          return { 'corrupt', key, 'field ' .. field .. ' is beyond 2^53' }
        end
        written[#written + 1] = field
        written[#written + 1] = string.format('%.0f', sum)
      end
    end
    sums[at] = written
  end
  at = at + 3 + count
end

-- Phase 2: write. Operations stand in the order in which they are to be done.
local function write(command, key, values, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(values, from, math.min(from + CHUNK - 1, last)))
  end
end

local function write_scores(key, first, last)
  for from = first, last, CHUNK do
    local pairs_swapped = {}
    for i = from, math.min(from + CHUNK - 1, last), 2 do
      pairs_swapped[#pairs_swapped + 1] = ARGV[i + 1]
      pairs_swapped[#pairs_swapped + 1] = ARGV[i]
    end
    redis.call('ZADD', key, unpack(pairs_swapped))
  end
end

at = 11
while at <= #ARGV do
  local name, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local first, last = at + 3, at + 2 + count
  if name == 'add' then
    write('HSET', key, sums[at], 1, #sums[at])
  elseif name == 'set' then
    write('HSET', key, ARGV, first, last)
  elseif name == 'del' then
    write('HDEL', key, ARGV, first, last)
  elseif name == 'member' then
    write('SADD', key, ARGV, first, last)
  elseif name == 'score' then
    write_scores(key, first, last)
  else
    -- Housekeeping, at most so much a step: what is forgotten is known no more, removed or not.
    local old = redis.call('ZRANGEBYSCORE', key, '-inf', ARGV[first], 'LIMIT', 0, 3 * CHUNK)
    if #old > 0 then
      write('ZREM', key, old, 1, #old)
    end
  end
  at = at + 3 + count
end
redis.call('HSET', KEYS[2], 'position', ARGV[6], 'fingerprint', ARGV[7], 'as_of', as_of, 'log_time', ARGV[9],
  'id_window', ARGV[10])
return { 'applied' }
