-- Applies one batch in one step: check everything, then write, the head last (DESIGN 3.2, 3.6).
-- A script is not rolled back, so nothing after the first write may fail.
--
-- KEYS  1 pointer, 2 head, 3 turns, 4 ids, 5.. tables
-- ARGV  1 generation, 2 parameters, 3-5 fence before (log id, position, fingerprint), 6-7 fence after (position,
--       fingerprint), 8 as_of, 9 log_time, 10 id_window, 11 operations: {{name, key index, payload}, ...}, 12 bytes
-- Answer: {"applied"} {"already"} {"miss", generation, log id, position, fingerprint} {"corrupt", key, what}
--
-- The operations are MessagePack: strings and numbers, since this cmsgpack knows no bin. Members and moments stand in the bytes,
-- in fixed widths; there the payload begins with first, length.
--   add      {{field, ...}, {amount, ...}}      hash, sums checked before the first write
--   sum      {{field, ...}, {number, ...}}      hash, what the fields hold afterwards
--   set      {{field, ...}, {text, ...}}        hash
--   del      {field, ...}                       hash
--   member   {member, ...}                      set
--   score    {member: score}                    zset
--   note     bytes: member 8, moment 6, ...     pair of hashes, member -> moment; the payload goes on with the second key's index,
--                                               its name in turns, the moment up to which it is forgotten, the newest in the bytes
--   recent   bytes: moment 13 digits, member 8  zset
--   fade     moment                             zset, forgets scores up to it
--   remember bytes: member 8, moment 6, ...     hash, member -> moment
--   queue    bytes: moment 6, member 8, ...     list, one element
--   again    moment                             hash of turns: when last an id was remembered that was there already
--   expire   moment                             list of queue, forgets the ids it lists up to it
-- Moments are Unix milliseconds, big-endian where they are bytes.
--
-- A pair of hashes takes turns: one is written, the other only read. Once all that the other holds is forgotten, it is dropped whole
-- and written from then on. turns has a pair's state: which one is written, the newest moment in it, the newest in the other.

local CHUNK = 2000 -- arguments a call: unpack takes fewer than 8,000
local FORGOTTEN_MAX = 12000 -- what is forgotten a step: more than a batch can add
local COUNTER_MAX = 9007199254740991 -- integers are exact in doubles up to here
local TURN = '>I1I6I6'
local TURN_BYTES = 13
local AGAIN = 'ids'
local TYPES = {
  add = 'hash', sum = 'hash', set = 'hash', del = 'hash', member = 'set', score = 'zset', note = 'hash', recent = 'zset',
  fade = 'zset', remember = 'hash', queue = 'list', again = 'hash', expire = 'list',
}
local call, format, min, max = redis.call, string.format, math.min, math.max

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

-- Phase 1: types of all keys, the sums of all additive fields, and the turns of all pairs.
local function corrupt(key, what)
  return { 'corrupt', key, what }
end

-- Small numbers come again and again, and writing one out costs more than finding it.
local texts = {}
local function text_of(number)
  local text = texts[number]
  if not text then
    text = format('%.0f', number)
    texts[number] = text
  end
  return text
end

-- Lays fields and values side by side, as the commands take them.
local function pairs_of(fields, values)
  local flat = {}
  for i = 1, #fields do
    flat[2 * i - 1] = fields[i]
    flat[2 * i] = values[i]
  end
  return flat
end

local function sums_of(key, fields, amounts)
  local flat = {}
  for from = 1, #fields, CHUNK do
    local last = min(from + CHUNK - 1, #fields)
    local stored = call('HMGET', key, unpack(fields, from, last))
    for i = from, last do
      local value, sum = stored[i - from + 1], amounts[i]
      if value then
        local was = tonumber(value)
        if not was or text_of(was) ~= value then
          return nil, corrupt(key, 'field ' .. fields[i] .. ' is no number')
        end
        sum = sum + was
      end
      if sum > COUNTER_MAX or sum < -COUNTER_MAX then
        return nil, corrupt(key, 'field ' .. fields[i] .. ' is beyond 2^53')
      end
      flat[2 * i - 1] = fields[i]
      flat[2 * i] = text_of(sum)
    end
  end
  return flat
end

local turns = {}

-- Reads a pair's turn: {which is written, newest in it, newest in the other}. The first turn is as long as all others.
local function turn_of(name, newest)
  local stored = call('HGET', KEYS[3], name)
  if not stored then
    turns[name] = { 0, 0, newest }
  elseif #stored ~= TURN_BYTES then
    return corrupt(KEYS[3], 'field ' .. name .. ' is no turn')
  else
    turns[name] = { struct.unpack(TURN, stored) }
  end
end

local function refusal_of(key, wanted)
  local kind = call('TYPE', key).ok
  if kind ~= 'none' and kind ~= wanted then
    return corrupt(key, 'is a ' .. kind .. ', not a ' .. wanted)
  end
end

local operations, bytes = cmsgpack.unpack(ARGV[11]), ARGV[12]
local refusal = refusal_of(KEYS[3], 'hash')
for _, operation in ipairs(operations) do
  local name, key, payload = operation[1], KEYS[operation[2]], operation[3]
  refusal = refusal or refusal_of(key, TYPES[name])
  if refusal then
    return refusal
  end
  if name == 'add' then
    operation[3], refusal = sums_of(key, payload[1], payload[2])
  elseif name == 'note' then
    refusal = refusal_of(KEYS[payload[3]], 'hash') or turn_of(payload[4], payload[6])
  end
  if refusal then
    return refusal
  end
end

-- Phase 2: write. Operations stand in the order in which they are to be done.
local function write(command, key, values)
  for from = 1, #values, CHUNK do
    call(command, key, unpack(values, from, min(from + CHUNK - 1, #values)))
  end
end

-- Calls f(values, count) with the parts of units of two parts and a fixed width in a text, at most CHUNK values at a time.
local function each_pair(text, first, length, width, format_of_unit, f)
  local units = length / width
  for from = 0, units - 1, CHUNK / 2 do
    local count = min(CHUNK / 2, units - from)
    -- One value more than asked for: struct.unpack ends with the place it has come to.
    f({ struct.unpack(string.rep(format_of_unit, count), text, first + from * width) }, count * 2)
  end
end

local writers = {}

function writers.add(key, flat) write('HSET', key, flat) end
function writers.set(key, payload) write('HSET', key, pairs_of(payload[1], payload[2])) end
function writers.del(key, list) write('HDEL', key, list) end
function writers.member(key, list) write('SADD', key, list) end

function writers.sum(key, payload)
  local sums = payload[2]
  for i = 1, #sums do
    sums[i] = text_of(sums[i])
  end
  write('HSET', key, pairs_of(payload[1], sums))
end

function writers.score(key, map)
  local flat = {}
  for member, score in pairs(map) do
    flat[#flat + 1] = score
    flat[#flat + 1] = member
  end
  write('ZADD', key, flat)
end

function writers.note(key, payload)
  local first, length, second, name, forgotten, newest = unpack(payload)
  local sides, turn = { [0] = key, KEYS[second] }, turns[name]
  if turn[3] <= forgotten then
    turn[1], turn[2], turn[3] = 1 - turn[1], 0, turn[2]
    call('UNLINK', sides[turn[1]])
  end
  turn[2] = max(turn[2], newest)
  each_pair(bytes, first, length, 14, 'c8c6', function(values, count)
    call('HSET', sides[turn[1]], unpack(values, 1, count))
  end)
  call('HSET', KEYS[3], name, struct.pack(TURN, turn[1], turn[2], turn[3]))
end

function writers.recent(key, payload)
  each_pair(bytes, payload[1], payload[2], 21, 'c13c8', function(values, count)
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

function writers.remember(key, payload)
  each_pair(bytes, payload[1], payload[2], 14, 'c8c6', function(values, count)
    call('HSET', key, unpack(values, 1, count))
  end)
end

function writers.queue(key, payload) call('RPUSH', key, bytes:sub(payload[1], payload[1] + payload[2] - 1)) end
function writers.again(key, moment) call('HSET', key, AGAIN, struct.pack('>I6', moment)) end

-- An id that was remembered again stands in a later element too, and is not to go with the earlier one.
local function forget_unless_later(ids, fields, count, moment)
  local old = {}
  for i, value in ipairs(call('HMGET', ids, unpack(fields, 1, count))) do
    if value and struct.unpack('>I6', value) <= moment then
      old[#old + 1] = fields[i]
    end
  end
  write('HDEL', ids, old)
end

function writers.expire(key, moment)
  local ids, removed = KEYS[4], 0
  local again = struct.unpack('>I6', call('HGET', KEYS[3], AGAIN) or '\0\0\0\0\0\0')
  while removed < FORGOTTEN_MAX do
    local oldest = call('LINDEX', key, 0)
    local remembered_at = oldest and struct.unpack('>I6', oldest)
    if not oldest or remembered_at > moment then
      return
    end
    local units = (#oldest - 6) / 8
    for from = 0, units - 1, CHUNK do
      local count = min(CHUNK, units - from)
      local fields = { struct.unpack(string.rep('c8', count), oldest, 7 + from * 8) }
      if remembered_at <= again then
        forget_unless_later(ids, fields, count, moment)
      else
        call('HDEL', ids, unpack(fields, 1, count))
      end
    end
    removed = removed + units
    call('LPOP', key)
  end
end

for _, operation in ipairs(operations) do
  writers[operation[1]](KEYS[operation[2]], operation[3])
end
call('HSET', KEYS[2], 'position', ARGV[6], 'fingerprint', ARGV[7], 'as_of', as_of, 'log_time', ARGV[9],
  'id_window', ARGV[10])
return { 'applied' }
