// What the pages' scripts find beside them: the charts' library (widget/vendor/uplot.js).
interface Window {
  uPlot?: typeof import("uplot");
}
