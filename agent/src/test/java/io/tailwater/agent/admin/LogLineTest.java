package io.tailwater.agent.admin;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Instant;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.Test;

class LogLineTest {

  @Test
  void aRecordIsOneLineWhateverItsMessageSays() {
    LogRecord record = new LogRecord(Level.WARNING, "line one\nline two\u001b[31m");
    record.setLoggerName("io.tailwater.agent.dataplane.flow.ConnectionFlow");
    record.setInstant(Instant.parse("2031-02-03T04:05:06.000007Z"));

    assertThat(new LogLine().format(record))
        .isEqualTo(
            "2031-02-03T04:05:06.000007Z\twarn\tdataplane.flow.ConnectionFlow\t"
                + "line one\\u000aline two\\u001b[31m\n");
  }
}
