// How a skipped suite carries its reason to the report.

/** What stands between a skipped suite's name and what it needs. */
export const reasonMark = ' -- needs ';
