"""The scripts that Redis runs for what nodes share: see seeder/README.md for the keys.

No I/O.
"""

from seeder.cluster.store import Script

TELL = Script("""
-- ARGV: node, length of the stream, seconds it is kept, seconds peers are kept, most peers of a
-- key, seconds counts are kept, peers, visits, counts and copies for the stream, the number of the
-- batch of copies, completions that are owed and that are settled, such bytes likewise, number of
-- counts, their names and values, then for each peer the number of its key, its name and its value.
local function is_newer(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a > b end
  end
  return #one > #other
end
-- The ninth byte has the flags, and its highest bit says that a completion was counted; from the
-- eighteenth on it is said whose.
local function merged(new, old)
  local kept = is_newer(new, old) and new or old
  local flags = string.byte(kept, 9)
  local counted = math.max(string.byte(new, 9), string.byte(old, 9)) >= 128
  if counted and flags < 128 and string.sub(new, 18) == string.sub(old, 18) then
    kept = string.sub(kept, 1, 8) .. string.char(flags + 128) .. string.sub(kept, 10)
  end
  return kept
end
local at, touched, sizes = 17, {}, {}
local counts = tonumber(ARGV[16])
if counts > 0 then
  for i = 1, counts do
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  local now = redis.call('TIME')[1]
  redis.call('EXPIRE', KEYS[3], ARGV[6])
  redis.call('ZADD', KEYS[2], now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
while at < #ARGV do
  local key, name, value = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local old = redis.call('HGET', key, name)
  if old then
    local kept = #old > 17 and merged(value, old) or value
    if kept ~= old then redis.call('HSET', key, name, kept) end
  else
    local size = sizes[key] or redis.call('HLEN', key)
    if size < tonumber(ARGV[5]) then
      redis.call('HSET', key, name, value)
      size = size + 1
    end
    sizes[key] = size
  end
  touched[key] = true
end
for key in pairs(touched) do redis.call('EXPIRE', key, ARGV[4]) end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'n', ARGV[1], 'p', ARGV[7], 'v', ARGV[8],
  'c', ARGV[9], 'k', ARGV[10], 'b', ARGV[11], 'o', ARGV[12], 'd', ARGV[13],
  'g', ARGV[14], 's', ARGV[15])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
""")

BOUNDS = Script("""
local function id(entries) return entries[1] and entries[1][1] or '' end
return {
  id(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)),
  id(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)),
}
""")

SIZES = Script("""
local sizes = {}
for i, key in ipairs(KEYS) do sizes[i] = redis.call('HLEN', key) end
return sizes
""")

SCAN = Script("return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])")

NAMES = Script("return redis.call('ZRANGE', KEYS[1], 0, 999)")

LEASE = Script("""
-- ARGV: node, seconds that a lease holds, then for each of KEYS the amount, what this node has
-- spent, the least slice, the seconds that the key is kept, and what it knows that others spent.
-- A node's entry is "TIME SPENT UPTO".
local now = tonumber(redis.call('TIME')[1])
local result = {}
local function amount_of(text)
  local amount = tonumber(text or '')
  if amount and amount >= 0 and amount < 1e18 then return amount end
end
for i, key in ipairs(KEYS) do
  local at = 5 * i - 2
  local amount, spent, least = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local others, promised, nodes = 0, 0, 1
  local all = redis.call('HGETALL', key)
  for j = 1, #all, 2 do
    local time, theirs, upto = string.match(all[j + 1], '^(%S+) (%S+) (%S+)$')
    time, theirs, upto = amount_of(time), amount_of(theirs), amount_of(upto)
    if not (time and theirs and upto) then
      redis.call('HDEL', key, all[j]) -- no node has written that
    elseif all[j] == ARGV[1] then
      spent = math.max(spent, theirs)
    else
      others = others + theirs
      if now - time < tonumber(ARGV[2]) then
        nodes = nodes + 1
        promised = promised + math.max(0, upto - theirs)
      end
    end
  end
  others = math.max(others, tonumber(ARGV[at + 4]))
  local free = math.max(0, amount - others - promised - spent)
  local upto = spent + math.min(free, math.max(free / 2, least))
  redis.call('HSET', key, ARGV[1], string.format('%.0f %.17g %.17g', now, spent, upto))
  redis.call('EXPIRE', key, ARGV[at + 3])
  table.insert(result, string.format('%.17g', others))
  table.insert(result, string.format('%.17g', upto))
  table.insert(result, nodes)
end
return result
""")
