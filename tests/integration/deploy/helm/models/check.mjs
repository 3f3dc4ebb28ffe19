// Holds objects (a list as JSON on standard input) against the schemas of KEDA and the Prometheus operator.
//
//     node check.mjs FOLDER_OF_NODE_MODULES <objects.json
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const installed = join(resolve(process.argv[2]), "node_modules", "@kubernetes-models");
const load = (path) => import(pathToFileURL(join(installed, path)).href);

const { ScaledObject } = await load("keda/keda.sh/v1alpha1/ScaledObject.js");
const operator = "prometheus-operator/monitoring.coreos.com/v1";
const { ServiceMonitor } = await load(`${operator}/ServiceMonitor.js`);
const { PrometheusRule } = await load(`${operator}/PrometheusRule.js`);
const kinds = { PrometheusRule, ScaledObject, ServiceMonitor };

for (const one of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new kinds[one.kind](one).validate();
  } catch (error) {
    console.error(`${one.kind} ${one.metadata.name}: ${error.message}`);
    process.exit(1);
  }
}
