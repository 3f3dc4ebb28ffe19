// Views for k6 (https://k6.io), for those who know it:
//
//   k6 run -e URL=http://127.0.0.1:8080 -e SITE=demo -e RATE=500 -e DURATION=30s tests/load/k6_views.js
//
// Further: -e API_URL= where numbers are read, -e TOKEN= of the test site, -e VISITORS=, -e PAGES=, -e VUS= at most,
// -e SUMMARY=file.json.
//
// The executor is an open loop (constant arrival rate), but k6 measures a request from the moment it is sent. When all VUs are busy
// it drops iterations instead of counting them as late: with dropped_iterations above 0 its percentiles are those of a closed loop,
// too good. `visit-counter load` counts from the moment a view was due.

import http from "k6/http";
import exec from "k6/execution";
import { sleep } from "k6";
import { Counter, Gauge } from "k6/metrics";

const URL = (__ENV.URL || "http://127.0.0.1:8080").replace(/\/$/, "");
const API_URL = (__ENV.API_URL || URL).replace(/\/$/, "");
const SITE = __ENV.SITE || "demo";
const RATE = Number(__ENV.RATE || 500);
const VISITORS = Number(__ENV.VISITORS || 1000);
const PAGES = Number(__ENV.PAGES || 100);
const STANDSTILL_SECONDS = 5;

const acknowledged = new Counter("views_acknowledged");
const refused = new Counter("views_refused");
const unknown = new Counter("views_unknown");
const counted = new Gauge("service_counted");

http.setResponseCallback(http.expectedStatuses(202));

export const options = {
  scenarios: {
    views: {
      executor: "constant-arrival-rate",
      rate: RATE,
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: Math.min(100, Number(__ENV.VUS || 500)),
      maxVUs: Number(__ENV.VUS || 500),
    },
  },
  thresholds: { dropped_iterations: ["count==0"] },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max", "count"],
  discardResponseBodies: false,
};

function total() {
  const answer = http.get(`${API_URL}/v1/sites/${SITE}/counters?metric=views`, {
    responseCallback: http.expectedStatuses(200),
  });
  return answer.status === 200 ? answer.json("total") : -1;
}

export function setup() {
  const definitions = http.get(`${API_URL}/v1/definitions?site=${SITE}`, {
    responseCallback: http.expectedStatuses(200),
  });
  if (definitions.status !== 200 || definitions.json("site.test") !== true) {
    exec.test.abort(`${SITE} is no site for tests of this service: a load test would change its numbers for good`);
  }
  return { before: total(), run: Math.random().toString(36).slice(2, 12).padEnd(10, "0") };
}

export default function (data) {
  const number = exec.scenario.iterationInTest;
  const visitor = (number * 7919) % VISITORS;
  const view = {
    site: SITE,
    page: `/load/page-${(number * 104729) % PAGES}`,
    id: `${data.run}-${number}`,
    visitor: __ENV.TOKEN ? `reader-${visitor}` : undefined,
  };
  const headers = {
    "Content-Type": "text/plain",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "X-Forwarded-For": `198.18.${(visitor >> 8) & 255}.${visitor & 255}`,
  };
  if (__ENV.TOKEN) headers.Authorization = `Bearer ${__ENV.TOKEN}`;
  const answer = http.post(`${URL}/v1/views`, JSON.stringify(view), { headers, timeout: "10s" });
  if (answer.status === 202 && answer.json("counted") === true) acknowledged.add(1);
  else if (answer.status > 0 && answer.status < 500) refused.add(1);
  else unknown.add(1);
}

// Waits until the counter stands still.
export function teardown(data) {
  let last = -2;
  let still = 0;
  while (still < STANDSTILL_SECONDS) {
    const now = total();
    still = now === last ? still + 1 : 0;
    last = now;
    sleep(1);
  }
  counted.add(last - data.before);
}

function count(data, name) {
  return data.metrics[name] ? data.metrics[name].values.count : 0;
}

export function handleSummary(data) {
  const sent = count(data, "views_acknowledged") + count(data, "views_refused") + count(data, "views_unknown");
  const grew = data.metrics.service_counted ? data.metrics.service_counted.values.value : -1;
  if (sent === 0) return { stdout: "nothing was sent\n" };
  const missing = count(data, "views_acknowledged") - grew;
  const closes = missing <= 0 && -missing <= count(data, "views_unknown");
  const found = {
    tool: "k6",
    loop: count(data, "dropped_iterations") ? "closed: iterations were dropped, percentiles too good" : "open",
    measured_from: "the moment a request was sent, not the moment it was due",
    sent,
    acknowledged: count(data, "views_acknowledged"),
    counted: grew,
    refused: count(data, "views_refused"),
    unknown: count(data, "views_unknown"),
    dropped: count(data, "dropped_iterations"),
    closes,
    service_ms: data.metrics.http_req_duration.values,
  };
  const text =
    `service time, from the moment sent (${found.loop}): p50 ${found.service_ms.med.toFixed(2)} ms, ` +
    `p99 ${found.service_ms["p(99)"].toFixed(2)} ms, max ${found.service_ms.max.toFixed(2)} ms\n` +
    `sent ${sent}, acknowledged ${found.acknowledged}, refused ${found.refused}, unknown ${found.unknown}, ` +
    `dropped ${found.dropped}; the service counted ${grew}: the books ${closes ? "close" : "DO NOT CLOSE"}\n`;
  const files = { stdout: text };
  if (__ENV.SUMMARY) files[__ENV.SUMMARY] = JSON.stringify(found, null, 2);
  return files;
}
