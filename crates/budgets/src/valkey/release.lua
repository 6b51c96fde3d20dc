-- ARGV: base, remembered_ms, id.

if redis.call('HGET', hold_key(ARGV[3]), 'state') == 'held' then let_go(ARGV[3], ARGV[2]) end
return {}
