-- ARGV: base, remembered_ms, now_ms, keys of accounts. Answers four sums of each.

expire(ARGV[3], ARGV[2])

local all = {}
for i = 4, #ARGV do
  for _, sum in ipairs(standing(ARGV[i])) do all[#all + 1] = sum end
end
return all
