package io.tailwater.agent.dataplane.account;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A file that is appended to by its path: where somebody has moved it away or put another one in
/// its place (logrotate), what is written next goes to what the path names then, made anew where
/// there is nothing. While that cannot be opened, everything goes on to the file as it was. One
/// thread at a time.
final class FollowedFile extends OutputStream {
  private static final Logger LOG = LoggerFactory.getLogger(FollowedFile.class);

  /// Whoever replaces the file again and again within microseconds is followed with the next write.
  private static final int LOOKS = 3;

  private final Path path;
  private OutputStream out;

  /// Device and inode.
  private Optional<Object> opened;

  private boolean lost;

  /// @throws IOException when it cannot be opened
  FollowedFile(Path path) throws IOException {
    this.path = path;
    Optional<Object> there = there();
    this.out = append();
    this.opened = there;
    follow();
  }

  private OutputStream append() throws IOException {
    return Files.newOutputStream(
        path, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
  }

  private Optional<Object> there() throws IOException {
    try {
      return Optional.ofNullable(Files.readAttributes(path, BasicFileAttributes.class).fileKey());
    } catch (NoSuchFileException _) {
      return Optional.empty();
    }
  }

  /// What was there before the opening and is there after the next look is what was opened.
  private void follow() {
    try {
      Optional<Object> there = there();
      for (int i = 0; i < LOOKS && (there.isEmpty() || !there.equals(opened)); i++) {
        OutputStream anew = append();
        out.close();
        out = anew;
        opened = there;
        there = there();
      }
      lost = false;
    } catch (IOException e) {
      if (!lost) {
        LOG.warn(
            "{} is not the file any more that is written to, and cannot be opened anew ({}): what"
                + " is written goes on to the file that was there",
            path,
            e.toString());
      }
      lost = true;
    }
  }

  @Override
  public void write(int value) throws IOException {
    write(new byte[] {(byte) value}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int from, int length) throws IOException {
    follow();
    out.write(bytes, from, length);
  }

  /// Lets go of a file that was moved away, also where nothing is written.
  @Override
  public void flush() throws IOException {
    follow();
    out.flush();
  }

  @Override
  public void close() throws IOException {
    out.close();
  }
}
