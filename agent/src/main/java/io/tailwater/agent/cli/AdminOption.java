package io.tailwater.agent.cli;

import io.tailwater.agent.config.ListenAddress;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/// `--admin`, the same for every command that asks a running agent: mixed in by picocli, which
/// fills it.
final class AdminOption {
  @Option(
      names = "--admin",
      paramLabel = "ADDRESS",
      defaultValue = "${env:TAILWATER_ADMIN:-127.0.0.1:15000}",
      converter = Address.class,
      description = "Where the running agent answers (default: ${DEFAULT-VALUE}).")
  private @Nullable ListenAddress address;

  AdminClient client() {
    return new AdminClient(Optional.ofNullable(address).orElseThrow());
  }

  private static final class Address implements ITypeConverter<ListenAddress> {
    @Override
    public ListenAddress convert(String text) {
      return ListenAddress.parse(text)
          .orElseThrow(() ->
              new TypeConversionException(
                  "must be an address like 127.0.0.1:15000 or unix:/path, not \"" + text + "\""));
    }
  }
}
