"""The scripts that make, swap, copy and remove generations in Redis. Each declares every key it touches, and checks before it writes."""

from __future__ import annotations

NEW_SHADOW = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
if redis.call('EXISTS', KEYS[4]) == 1 or redis.call('ZSCORE', KEYS[3], ARGV[3]) then return 0 end
if #ARGV > 4 then redis.call('HSET', KEYS[4], unpack(ARGV, 5)) end
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[3], 0, ARGV[2]) end
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
redis.call('SET', KEYS[2], ARGV[3])
return 1
"""
"""KEYS pointer, shadow, doomed, head of the new one. ARGV pointer and shadow as they were read, number, removal, fields of the head."""

DISCARD = """
local shadow = redis.call('GET', KEYS[1])
if shadow then
  redis.call('ZADD', KEYS[2], 0, shadow)
  redis.call('DEL', KEYS[1])
end
return 1
"""
"""KEYS shadow, doomed."""

FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
  return 0
end
redis.call('HSET', KEYS[3], unpack(ARGV, 2))
return 1
"""
"""KEYS shadow, doomed, head. ARGV number, fields of the head."""

SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or redis.call('GET', KEYS[3]) ~= ARGV[2] then return {'moved'} end
local mine = redis.call('HMGET', KEYS[4], 'log_id', 'position', 'fingerprint', 'as_of')
if not mine[2] then return {'moved'} end
local live = redis.call('HMGET', KEYS[2], 'log_id', 'position', 'fingerprint', 'as_of')
local is_over = live[1] == ARGV[4] and live[2] == ARGV[5] and live[3] == ARGV[6]
if ARGV[1] ~= '' and live[2] and not is_over then
  local ahead = tonumber(mine[2]) - tonumber(live[2])
  if live[1] ~= mine[1] or ahead < 0 or (ahead == 0 and live[3] ~= mine[3]) then
    return {'behind', live[1], live[2], live[3]}
  end
  if tonumber(live[4]) > tonumber(mine[4]) then redis.call('HSET', KEYS[4], 'as_of', live[4]) end
end
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[5], ARGV[3], ARGV[1]) end
redis.call('ZREM', KEYS[5], ARGV[2])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[3])
return {'swapped'}
"""
"""KEYS pointer, head of the live one, shadow, its head, doomed. ARGV the live number as it was read, the shadow's, removal of the live
one, and a fence that may be passed over (log id, position, fingerprint)."""

FREEZE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[6]) == 1 then return 'again' end
if redis.call('SCARD', KEYS[3]) ~= tonumber(ARGV[4]) or redis.call('ZCARD', KEYS[4]) ~= tonumber(ARGV[5]) then return 'again' end
for i = 6, 5 + ARGV[4] do
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then return 'again' end
end
for i = 6 + ARGV[4], #ARGV do
  if not redis.call('ZSCORE', KEYS[4], ARGV[i]) then return 'again' end
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
for i = 5, #KEYS, 2 do redis.call('COPY', KEYS[i], KEYS[i + 1]) end
return 'frozen'
"""
"""KEYS pointer, doomed, sites and days of the live one, then pairs of a key and its copy, the heads first. ARGV the live number, the
copy's, its removal, how many sites and days, their names: where they are others by now, their keys are not declared."""

CONDEMN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('UNLINK', KEYS[2]) end
return 1
"""
"""KEYS pointer, shadow, doomed. ARGV number: whether it may be removed; the live one never is. UNLINK, since the
aggregator's user has no DEL (deploy/redis/users.acl)."""
