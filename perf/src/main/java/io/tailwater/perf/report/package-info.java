/// What becomes of the samples: medians and ratios, a Markdown table, raw data as JSON, a picture
/// as PNG. Pure functions of the samples, no process and no network. Any thread.
package io.tailwater.perf.report;
