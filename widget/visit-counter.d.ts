/** Counters, page views, a receipt or a problem: what an answer of the server may hold. */
export interface Answer {
  metric?: "visits" | "views" | "visitors";
  windows?: "rolling" | "calendar";
  online?: number;
  today?: number;
  yesterday?: number;
  week?: number;
  month?: number;
  year?: number;
  total?: number;
  as_of?: string;
  stale?: boolean;
  lang?: string;
  pages?: Record<string, number | null>;
  counted?: boolean;
  position?: string;
  /** What this browser is to keep and send as its id: only of a site with identity = "storage"; empty: nothing any more. */
  visitor?: string;
  reason?: string;
  status?: number;
  detail?: string;
  hint?: string;
}

/** A view as it was sent. */
export interface View {
  site: string;
  page: string;
  id?: string;
  kind?: "ping";
  entry?: boolean;
  own?: boolean;
  visitor?: string;
}

/** The last view of this page and what became of it. */
export interface Last {
  view: View;
  answer: Answer;
}

/** Count this page again, under another name if one is given: for pages that change without loading. */
export interface Count {
  (page?: string): void;
  last?: Last;
}

declare global {
  interface Window {
    visitCounter: { count: Count };
  }
  interface Navigator {
    connection?: { saveData?: boolean };
  }
}
