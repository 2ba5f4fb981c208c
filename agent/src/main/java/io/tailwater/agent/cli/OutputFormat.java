package io.tailwater.agent.cli;

/// What `-o` takes. Lower case is what people write.
enum OutputFormat {
  text,
  json
}
