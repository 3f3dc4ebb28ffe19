-- Applies one batch in one step: check everything, then write, the head last (DESIGN 3.2, 3.6).
-- A script is not rolled back, so nothing after the first write may fail.
--
-- KEYS  1 pointer, 2 head, 3 ids, 4 cursors of sweeps, 5.. tables
-- ARGV  1 generation, 2 parameters, 3-5 fence before (log id, position, fingerprint), 6-7 fence after (position,
--       fingerprint), 8 as_of, 9 log_time, 10 id_window, 11 operations: {{name, key index, payload}, ...}, 12 bytes
-- Answer: {"applied"} {"already"} {"miss", generation, log id, position, fingerprint} {"corrupt", key, what}
--
-- The operations are MessagePack: strings and numbers, since this cmsgpack knows no bin. Members and moments stand in the bytes,
-- in fixed widths; there the payload is {first, length}.
--   add      {field: amount}                    hash, sums checked before the first write
--   set      {field: value}                     hash
--   del      {field, ...}                       hash
--   member   {member, ...}                      set
--   score    {member: score}                    zset
--   note     bytes: member 8, moment 6, ...     hash, member -> moment
--   recent   bytes: moment 13 digits, member 8  zset
--   queue    bytes: moment 6, member 8, ...     list, one element
--   fade     moment                             zset, forgets scores up to it
--   sweep    moment                             hash of note, forgets moments before it
--   expire   moment                             list of queue, forgets the ids it lists up to it
-- Moments are Unix milliseconds, big-endian where they are bytes.

local CHUNK = 2000 -- arguments a call: unpack takes fewer than 8,000
local FORGOTTEN_MAX = 6000 -- what is forgotten a step: more than a batch can add
local SWEPT = 4 -- fields looked at for each one added
local COUNTER_MAX = 9007199254740991 -- integers are exact in doubles up to here
local TYPES = {
  add = 'hash', set = 'hash', del = 'hash', member = 'set', score = 'zset', note = 'hash', recent = 'zset',
  queue = 'list', fade = 'zset', sweep = 'hash', expire = 'list',
}
local call, match, format, min = redis.call, string.match, string.format, math.min

local pointer = call('GET', KEYS[1])
local head = call('HMGET', KEYS[2], 'log_id', 'position', 'fingerprint', 'parameters', 'as_of')
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
local function corrupt(key, what)
  return { 'corrupt', key, what }
end

local function sums_of(key, amounts)
  local fields, count = {}, 0
  for field in pairs(amounts) do
    count = count + 1
    fields[count] = field
  end
  local flat = {}
  for from = 1, count, CHUNK do
    local last = min(from + CHUNK - 1, count)
    local stored = call('HMGET', key, unpack(fields, from, last))
    for i = from, last do
      local field, value = fields[i], stored[i - from + 1]
      local sum = amounts[field]
      if value then
        if not match(value, '^%-?%d+$') then
          return nil, corrupt(key, 'field ' .. field .. ' is no number')
        end
        sum = sum + tonumber(value)
      end
      if sum > COUNTER_MAX or sum < -COUNTER_MAX then
        return nil, corrupt(key, 'field ' .. field .. ' is beyond 2^53')
      end
      flat[2 * i - 1] = field
      flat[2 * i] = format('%.0f', sum)
    end
  end
  return flat
end

local operations, bytes = cmsgpack.unpack(ARGV[11]), ARGV[12]
for _, operation in ipairs(operations) do
  local name, key = operation[1], KEYS[operation[2]]
  local kind = call('TYPE', key).ok
  if kind ~= 'none' and kind ~= TYPES[name] then
    return corrupt(key, 'is a ' .. kind .. ', not a ' .. TYPES[name])
  end
  if name == 'add' then
    local flat, refusal = sums_of(key, operation[3])
    if refusal then
      return refusal
    end
    operation[3] = flat
  end
end

-- Phase 2: write. Operations stand in the order in which they are to be done.
local function write(command, key, values)
  for from = 1, #values, CHUNK do
    call(command, key, unpack(values, from, min(from + CHUNK - 1, #values)))
  end
end

local function flat_of(map, swapped)
  local flat = {}
  for field, value in pairs(map) do
    flat[#flat + 1] = swapped and value or field
    flat[#flat + 1] = swapped and field or value
  end
  return flat
end

-- Calls f(values, count) with the parts of units of fixed width in a text, at most CHUNK values at a time.
local function each_part(text, first, length, width, parts, format_of_unit, f)
  local units_max = CHUNK / parts
  local units = math.floor(length / width)
  for from = 0, units - 1, units_max do
    local count = min(units_max, units - from)
    -- One value more than asked for: struct.unpack ends with the place it has come to.
    f({ struct.unpack(string.rep(format_of_unit, count), text, first + from * width) }, count * parts)
  end
end

local function moment_of(text)
  return #text >= 6 and struct.unpack('>I6', text) or 0
end

local function remove(key, fields, values, count, is_old)
  local old = {}
  for i = 1, count do
    if values[i] and is_old(moment_of(values[i])) then
      old[#old + 1] = fields[i]
    end
  end
  write('HDEL', key, old)
end

local added = {}
local writers = {}

function writers.add(key, flat) write('HSET', key, flat) end
function writers.set(key, map) write('HSET', key, flat_of(map)) end
function writers.del(key, list) write('HDEL', key, list) end
function writers.member(key, list) write('SADD', key, list) end
function writers.score(key, map) write('ZADD', key, flat_of(map, true)) end
function writers.queue(key, place) call('RPUSH', key, bytes:sub(place[1], place[1] + place[2] - 1)) end

function writers.note(key, place)
  local fresh = 0
  each_part(bytes, place[1], place[2], 14, 2, 'c8c6', function(values, count)
    fresh = fresh + call('HSET', key, unpack(values, 1, count))
  end)
  added[key] = fresh
end

function writers.recent(key, place)
  each_part(bytes, place[1], place[2], 21, 2, 'c13c8', function(values, count)
    call('ZADD', key, unpack(values, 1, count))
  end)
end

-- Housekeeping, at most so much a step: what is forgotten is known no more, removed or not.
function writers.fade(key, moment)
  local old = call('ZCOUNT', key, '-inf', moment)
  if old > 0 then
    call('ZREMRANGEBYRANK', key, 0, min(old, FORGOTTEN_MAX) - 1)
  end
end

function writers.sweep(key, moment)
  local left = SWEPT * (added[key] or 0)
  if left == 0 then
    return
  end
  local cursors = KEYS[4]
  local cursor = call('HGET', cursors, key) or '0'
  while left > 0 do
    local found = call('HSCAN', key, cursor, 'COUNT', min(left, CHUNK))
    local fields, values, count = {}, {}, #found[2] / 2
    for i = 1, count do
      fields[i], values[i] = found[2][2 * i - 1], found[2][2 * i]
    end
    remove(key, fields, values, count, function(at) return at < moment end)
    cursor = found[1]
    left = cursor == '0' and 0 or left - min(left, CHUNK)
  end
  call('HSET', cursors, key, cursor)
end

function writers.expire(key, moment)
  local ids, removed = KEYS[3], 0
  while removed < FORGOTTEN_MAX do
    local oldest = call('LINDEX', key, 0)
    if not oldest or moment_of(oldest) > moment then
      return
    end
    -- Remembered again meanwhile: then it stands in a later element too.
    each_part(oldest, 7, #oldest - 6, 8, 1, 'c8', function(fields, count)
      remove(ids, fields, call('HMGET', ids, unpack(fields, 1, count)), count, function(at) return at <= moment end)
      removed = removed + count
    end)
    call('LPOP', key)
  end
end

for _, operation in ipairs(operations) do
  writers[operation[1]](KEYS[operation[2]], operation[3])
end
call('HSET', KEYS[2], 'position', ARGV[6], 'fingerprint', ARGV[7], 'as_of', as_of, 'log_time', ARGV[9],
  'id_window', ARGV[10])
return { 'applied' }
