-- Reading for wrk: `wrk … -- HEADERS PATH…`, the paths in turn.

local requests, count = {}, 0

function init(args)
  for i = 2, #args do
    requests[#requests + 1] = string.format("GET %s HTTP/1.1\r\nHost: counter.example\r\n%s\r\n", args[i], args[1])
  end
end

function request()
  count = count + 1
  return requests[count % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%f,"errors":%d,"p50_ms":%f,"p99_ms":%f,"max_ms":%f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
