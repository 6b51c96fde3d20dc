-- ARGV: base, remembered_ms, day_s, session_s, id, nano_usd, tokens, then the keys of accounts for an id that is
-- not known.

local remembered_ms, day_s, session_s = ARGV[2], ARGV[3], ARGV[4]
local id = ARGV[5]
local used = { ARGV[6], ARGV[7] }

local key = hold_key(id)
local state = redis.call('HGET', key, 'state')
if state == 'settled' then return {} end
if state == 'held' then let_go(id, remembered_ms) end
if not state then
  redis.call('HSET', key, 'accounts', table.concat(ARGV, '\n', 8))
end

for account in redis.call('HGET', key, 'accounts'):gmatch('[^\n]+') do
  for i, measure in ipairs(MEASURES) do add(account_key(account), 'spent_' .. measure, used[i]) end
  touch(account, day_s, session_s)
end
redis.call('HSET', key, 'state', 'settled', 'nano_usd', used[1], 'tokens', used[2])
redis.call('PEXPIRE', key, remembered_ms)
return {}
