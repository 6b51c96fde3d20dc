-- ARGV: base, remembered_ms, day_s, session_s, id, now_ms, expires_at_ms, nano_usd, tokens, then of each account
-- its key, its limit in nano-dollars and in tokens, empty where there is none.
-- Answers {'held'}, {'used'} where the id was, or {'refused', NUMBER of the account, its standing}.

local remembered_ms, day_s, session_s = ARGV[2], ARGV[3], ARGV[4]
local id, now_ms, expires_at_ms = ARGV[5], ARGV[6], ARGV[7]
local asked = { ARGV[8], ARGV[9] }

expire(now_ms, remembered_ms)

local known = redis.call('HMGET', hold_key(id), 'state', 'nano_usd', 'tokens')
if known[1] then
  local is_same = known[1] == 'held' and known[2] == asked[1] and known[3] == asked[2]
  return { is_same and 'held' or 'used' }
end

local accounts = {}
for i = 10, #ARGV, 3 do
  local sums = standing(ARGV[i])
  for measure = 1, 2 do
    local limit = ARGV[i + measure]
    if limit ~= '' and tonumber(sums[measure]) + tonumber(sums[measure + 2]) + tonumber(asked[measure]) > tonumber(limit) then
      return { 'refused', tostring(#accounts), sums[1], sums[2], sums[3], sums[4] }
    end
  end
  accounts[#accounts + 1] = ARGV[i]
end

for _, account in ipairs(accounts) do
  for i, measure in ipairs(MEASURES) do add(account_key(account), 'held_' .. measure, asked[i]) end
  touch(account, day_s, session_s)
end
redis.call('HSET', hold_key(id), 'state', 'held', 'nano_usd', asked[1], 'tokens', asked[2], 'accounts', table.concat(accounts, '\n'))
redis.call('ZADD', EXPIRING, expires_at_ms, id)
return { 'held' }
