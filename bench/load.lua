-- wrk: POST the file named after `--` again and again; the summary as one JSON line, because wrk's own text is rounded.
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"microseconds":%d,"p50":%.0f,"failed":%d}\n', summary.requests,
    summary.duration, latency:percentile(50), e.status + e.connect + e.read + e.write + e.timeout))
end
