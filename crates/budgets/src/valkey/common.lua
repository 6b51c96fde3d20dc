-- What the scripts of this folder share; it stands before each of them.
--
-- Keys, all with the hash tag of the deployment, so that a cluster keeps them on one node:
--   BASE account:KEY  hash: spent_nano_usd, spent_tokens, held_nano_usd, held_tokens
--   BASE hold:ID      hash: state (held, let_go, settled), nano_usd, tokens, accounts (keys, one a line)
--   BASE expiring     sorted set: ids of held holds by the millisecond in which they expire
-- Amounts stay text on their way into HINCRBY, which adds 64-bit integers; as numbers they are only compared,
-- which is exact because limits are below 2^53.

local BASE = ARGV[1]
local EXPIRING = BASE .. 'expiring'
local MEASURES = { 'nano_usd', 'tokens' }

local function account_key(account) return BASE .. 'account:' .. account end

local function hold_key(id) return BASE .. 'hold:' .. id end

local function add(key, field, amount)
  if amount ~= '0' then redis.call('HINCRBY', key, field, amount) end
end

-- Never below zero: what was wiped must not become room to spend.
local function take_back(key, field, amount)
  if amount == '0' then return end
  local held = tonumber(redis.call('HGET', key, field) or '0')
  if held < tonumber(amount) then
    redis.call('HSET', key, field, '0')
  else
    redis.call('HINCRBY', key, field, '-' .. amount)
  end
end

-- Days and sessions end by the clock of the server, some time after they were last touched.
local function touch(account, day_s, session_s)
  if account:match('^%a+:day%-') then
    redis.call('EXPIRE', account_key(account), day_s)
  elseif account:match('^session:') then
    redis.call('EXPIRE', account_key(account), session_s)
  end
end

local function free(account, held)
  local key = account_key(account)
  if redis.call('EXISTS', key) == 1 then
    for i, measure in ipairs(MEASURES) do take_back(key, 'held_' .. measure, held[i]) end
  end
end

local function let_go(id, remembered_ms)
  local key = hold_key(id)
  local hold = redis.call('HMGET', key, 'nano_usd', 'tokens', 'accounts')
  if hold[3] then
    for account in hold[3]:gmatch('[^\n]+') do free(account, { hold[1], hold[2] }) end
    redis.call('HSET', key, 'state', 'let_go')
    redis.call('PEXPIRE', key, remembered_ms)
  end
  redis.call('ZREM', EXPIRING, id)
end

local function expire(now_ms, remembered_ms)
  repeat
    local ids = redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now_ms, 'LIMIT', 0, 1000)
    for _, id in ipairs(ids) do let_go(id, remembered_ms) end
  until #ids == 0
end

-- As text: spent and held dollars and tokens.
local function standing(account)
  local sums = redis.call('HMGET', account_key(account), 'spent_nano_usd', 'spent_tokens', 'held_nano_usd', 'held_tokens')
  for i = 1, 4 do sums[i] = sums[i] or '0' end
  return sums
end

