-- A chat of about 128 tokens for wrk. The number in it changes from request to request, so that no
-- cache of whole prompts could answer. SHAPE=decision wraps it as Switchyard's decisions want it.
local words = {}
for word = 1, 14 do
  words[word] = "Explain, step by step, how a bicycle stays upright."
end
local text = table.concat(words, " ")
local before, after = "", ""
if os.getenv("SHAPE") == "decision" then
  before, after = '{"input_format":"openai_chat","request":', "}"
end
local n_sent = 0

wrk.method = "POST"
wrk.headers["content-type"] = "application/json"

function request()
  n_sent = n_sent + 1
  local chat = '{"model":"auto","messages":[{"role":"user","content":"' .. n_sent .. " " .. text .. '"}]}'
  return wrk.format(nil, nil, nil, before .. chat .. after)
end

-- One line: requests/s, p50 and p99 in ms, replies that were errors or did not come.
function done(summary, latency)
  local errors = summary.errors
  local n_errors = errors.status + errors.timeout + errors.connect + errors.read + errors.write
  io.write(string.format("RESULT %.1f %.4f %.4f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, n_errors))
end
