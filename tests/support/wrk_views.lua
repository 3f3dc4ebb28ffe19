-- Views for wrk: `wrk … -- SEED browser|few READERS PAGES SITE…`. Every request has an id, a page and a reader of its own;
-- the texts are made before the run, so that the client spends its time on sending.

local heads, tails = {}, {}
local seed, count = "", 0

local BROWSER = table.concat({
  "Connection: keep-alive",
  'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"',
  "Content-Type: text/plain;charset=UTF-8",
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Windows"',
  "Accept: */*",
  "Origin: https://portal.example",
  "Sec-Fetch-Site: cross-site",
  "Sec-Fetch-Mode: no-cors",
  "Sec-Fetch-Dest: empty",
  "Referer: https://portal.example/",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: vi-VN,vi;q=0.9,en;q=0.8",
  "X-Forwarded-Proto: https",
  "",
}, "\r\n")

local AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
local ID_LENGTH = 8 + 8

function init(args)
  seed = args[1]
  local headers = args[2] == "browser" and BROWSER or ""
  local readers, pages, sites = tonumber(args[3]), tonumber(args[4]), {}
  for i = 5, #args do sites[#sites + 1] = args[i] end
  for i = 1, readers do
    local before = string.format('{"site":"%s","page":"/tin-tuc/bai-%d","id":"', sites[i % #sites + 1], i % pages)
    local after = '"}'
    heads[i] = string.format(
      "POST /v1/views HTTP/1.1\r\nHost: counter.example\r\n%sUser-Agent: %s\r\nX-Forwarded-For: 10.%d.%d.%d\r\nContent-Length: %d\r\n\r\n%s",
      headers, string.format(AGENT, 100 + i % 31), i / 62500, i / 250 % 250, i % 250 + 1,
      #before + ID_LENGTH + #after, before)
    tails[i] = after
  end
end

function request()
  count = count + 1
  local i = count % #heads + 1
  return heads[i] .. seed .. string.format("%08x", count) .. tails[i]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%f,"errors":%d,"p50_ms":%f,"p99_ms":%f,"max_ms":%f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
