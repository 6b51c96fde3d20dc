-- POST /v1/route with a prompt of about 128 tokens. The number in it changes from request to
-- request, so that no cache of whole prompts could answer.
local words = {}
for word = 1, 14 do
  words[word] = "Explain, step by step, how a bicycle stays upright."
end
local text = table.concat(words, " ")
local n_sent = 0

wrk.method = "POST"
wrk.headers["content-type"] = "application/json"

function request()
  n_sent = n_sent + 1
  local body = '{"model":"auto","messages":[{"role":"user","content":"' .. n_sent .. " " .. text .. '"}]}'
  return wrk.format(nil, nil, nil, body)
end

-- One Markdown row: connections, requests, requests/s, p50, p99, errors. Latencies come in us.
function done(summary, latency)
  local errors = summary.errors
  local n_errors = errors.status + errors.timeout + errors.connect + errors.read + errors.write
  io.write(string.format("| %s | %d | %.0f | %.2f | %.2f | %d |\n", os.getenv("CONNECTIONS"), summary.requests,
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000, n_errors))
end
