// What Grafana says a dashboard is (https://www.npmjs.com/package/@grafana/schema), with the values of its enumerations written out as
// JSON has them. tests/integration/deploy/test_dashboard_types.py holds the committed dashboards against it.
import type { AnnotationQuery, Dashboard, DataQuery } from "@grafana/schema";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as Table } from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Item>
      ? Plain<Item>[]
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

// What the Prometheus data source adds to queries and annotations; @grafana/schema does not have it.
type PrometheusQuery = DataQuery & { expr: string; interval?: string };
type Mark = AnnotationQuery<PrometheusQuery> & { titleFormat?: string; textFormat?: string };

export type AnyDashboard = Plain<Omit<Dashboard, "annotations"> & { annotations: { list: Mark[] } }>;
// The panels' own options, by their type.
export type StatOptions = Plain<Stat>;
export type TableOptions = Plain<Table>;
export type TimeseriesOptions = Plain<TimeSeries>;
export type TimeseriesCustom = Plain<TimeSeriesField>;
