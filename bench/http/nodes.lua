-- wrk script: GET or PUT of random keys of table `default`, each thread at the next of the nodes; `load` PUTs all keys
-- in turn.
--   wrk -t3 -c64 -s bench/http/nodes.lua URL -- load|put|get KEYS VALUE_BYTES CONSISTENCY [HOST:PORT ...]
local addresses = {}
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  operation, keys = arguments[1], tonumber(arguments[2])
  body = string.rep("x", tonumber(arguments[3]))
  path = "/v1/kv/default/key%d?consistency=" .. arguments[4]
  local nodes = #arguments - 4
  if nodes > 0 then
    local host, port = arguments[5 + number % nodes]:match("(.+):(%d+)")
    wrk.thread.addr = wrk.lookup(host, port)[1]
  end
  math.randomseed(number + 1)
  next_key = math.floor(number * keys / 3)
end

function request()
  if operation == "load" then
    next_key = next_key % keys + 1
    return wrk.format("PUT", path:format(next_key), nil, body)
  end
  return wrk.format(operation == "put" and "PUT" or "GET", path:format(math.random(keys)), nil,
    operation == "put" and body or nil)
end

function done(summary, latency, _)
  local seconds = summary.duration / 1e6
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(("RESULT %d requests/s, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, failed %d\n"):format(
    summary.requests / seconds, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, failed))
end
