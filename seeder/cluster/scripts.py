"""The scripts that Redis runs for what nodes share: see seeder/README.md for the keys.

No I/O.
"""

from seeder.cluster.store import Script

TELL = Script("""
-- ARGV: node, length of the stream, seconds it is kept, seconds peers are kept, most peers of a
-- key, seconds counts are kept, peers, visits, counts and copies for the stream, the number of the
-- batch of copies, number of counts, their names and values, then for each peer the number of its
-- key, its name and its value.
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
local at, touched, sizes = 13, {}, {}
local counts = tonumber(ARGV[12])
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
  'c', ARGV[9], 'k', ARGV[10], 'b', ARGV[11])
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

REGISTER = Script("""
-- KEYS: the entries of the register of passkeys, their changes, their ends, secrets. ARGV: number
-- of the last change that the node has read, most to return, most keys made that there may be,
-- seconds kept, seconds for which a key is listed that has ended, number of secrets, these, then
-- names and values of entries. A value is two numbers, and of each the greatest counts. Changes are
-- numbered by microseconds (Unix), so that what is told after a loss has greater numbers than
-- before.
local function pair(value)
  local one, other = string.match(value, '^(%d+) (%d+)$')
  if one and #one <= 10 and #other <= 10 then return tonumber(one), tonumber(other) end
end
local time = redis.call('TIME')
local function top()
  return tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2] or 0)
end
local number = math.max(top(), time[1] * 1000000 + time[2])
local over = redis.call('ZRANGE', KEYS[3], '-inf', time[1] - ARGV[5], 'BYSCORE', 'LIMIT', 0, 100)
for _, name in ipairs(over) do
  for i = 1, 3 do redis.call(i == 1 and 'HDEL' or 'ZREM', KEYS[i], name) end
end
local secrets = redis.call('ZRANGE', KEYS[4], 0, -1)
for i = 7, 6 + ARGV[6] do
  if #secrets < 16 then redis.call('ZADD', KEYS[4], 'NX', number, ARGV[i]) end
  secrets = redis.call('ZRANGE', KEYS[4], 0, -1)
end
local size = redis.call('HLEN', KEYS[1])
for i = 7 + ARGV[6], #ARGV, 2 do
  local name, one, other = ARGV[i], pair(ARGV[i + 1])
  local old = redis.call('HGET', KEYS[1], name)
  local former, latter
  if old then former, latter = pair(old) end
  one, other = math.max(one, former or 0), math.max(other, latter or 0)
  local is_made = string.sub(name, 1, 1) == 'm'
  local room = tonumber(ARGV[3]) * (is_made and 1 or 10)
  if (one ~= former or other ~= latter) and (old or size < room) then
    redis.call('HSET', KEYS[1], name, string.format('%.0f %.0f', one, other))
    number = number + 1
    redis.call('ZADD', KEYS[2], string.format('%.0f', number), name)
    if is_made then redis.call('ZADD', KEYS[3], other, name) end
    if not old then size = size + 1 end
  end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
local found = redis.call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+inf', 'BYSCORE',
  'LIMIT', 0, ARGV[2], 'WITHSCORES')
local entries, last = {}, ARGV[1]
for i = 1, #found, 2 do
  table.insert(entries, found[i])
  table.insert(entries, redis.call('HGET', KEYS[1], found[i]) or '')
  last = found[i + 1]
end
return {string.format('%.0f', top()), last, secrets, entries}
""")

BANS = Script("""
-- KEYS: what was last said of each network, the number of the last change. ARGV: the number of the
-- last change that the node has read, most networks that there may be, seconds kept, then networks
-- and what is said of them, as "AT END JSON". The later one counts; from END on, unless that is 0,
-- nobody has to know of it. Changes are numbered by microseconds (Unix), so that what is told after
-- a loss has greater numbers than before.
local time = redis.call('TIME')
local number = tonumber(redis.call('GET', KEYS[2]) or 0)
local changed = false
local function parts(value)
  local at, last = string.match(value, '^(%S+) (%S+) ')
  return tonumber(at or '') or 0, tonumber(last or '') or 0
end
for i = 4, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  local newer = not old and redis.call('HLEN', KEYS[1]) < 2 * tonumber(ARGV[2])
  if newer or (old and parts(ARGV[i + 1]) > parts(old)) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    changed = true
  end
end
if changed then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local _, last = parts(all[i + 1])
    if last > 0 and last < tonumber(time[1]) then redis.call('HDEL', KEYS[1], all[i]) end
  end
  number = math.max(number + 1, time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[2], string.format('%.0f', number))
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
if number == tonumber(ARGV[1]) then return {string.format('%.0f', number), {}} end
return {string.format('%.0f', number), redis.call('HGETALL', KEYS[1])}
""")

ENTRIES = Script("""
-- KEYS: what was said last of each entry, changes, ends. ARGV: number of the last change that the
-- node has read, most to return, most entries that there may be, seconds kept, microseconds for
-- which a removal is kept, then for each entry its name, its time, whether it is removed, and the
-- line that says so. A value is "TIME REMOVED LINE"; of two the later counts, of the same time a
-- removal, and then the greater line. Changes are numbered as those of the register.
local function parts(value)
  local at, gone, line = string.match(value, '^(%d+) ([01]) (.*)$')
  if at and #at <= 16 then return tonumber(at), gone, line end
end
local function is_newer(at, gone, line, old)
  local before, was_gone, other = parts(old)
  if not before or at ~= before then return not before or at > before end
  if gone ~= was_gone then return gone > was_gone end
  return line > other
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function top()
  return tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2] or 0)
end
local number = math.max(top(), now)
local over = redis.call('ZRANGE', KEYS[3], '-inf', string.format('%.0f', now - ARGV[5]), 'BYSCORE',
  'LIMIT', 0, 100)
for _, name in ipairs(over) do
  for i = 1, 3 do redis.call(i == 1 and 'HDEL' or 'ZREM', KEYS[i], name) end
end
local size = redis.call('HLEN', KEYS[1])
for i = 6, #ARGV, 4 do
  local name, at, gone, line = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local old = redis.call('HGET', KEYS[1], name)
  local is_news = not old and size < tonumber(ARGV[3])
  if old then is_news = is_newer(at, gone, line, old) end
  if is_news then
    redis.call('HSET', KEYS[1], name, string.format('%.0f', at) .. ' ' .. gone .. ' ' .. line)
    number = number + 1
    redis.call('ZADD', KEYS[2], string.format('%.0f', number), name)
    if gone == '1' then redis.call('ZADD', KEYS[3], string.format('%.0f', at), name)
    else redis.call('ZREM', KEYS[3], name) end
    if not old then size = size + 1 end
  end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
local found = redis.call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+inf', 'BYSCORE',
  'LIMIT', 0, ARGV[2], 'WITHSCORES')
local lines, last = {}, ARGV[1]
for i = 1, #found, 2 do
  local _, _, line = parts(redis.call('HGET', KEYS[1], found[i]) or '')
  table.insert(lines, line or '')
  last = found[i + 1]
end
return {string.format('%.0f', top()), last, lines}
""")

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
