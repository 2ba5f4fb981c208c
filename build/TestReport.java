import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;

/// Adds up the surefire reports of all modules: `java build/TestReport.java ROOT`. A line for each module, each
/// failure, each test that passed only at its second try and each reason for a skip goes to stdout; `PASSED FAILED SKIPPED` to descriptor 3 (here: the
/// file `/dev/fd/3`). A module with tests in its sources and no report counts as one failure.
final class TestReport {
  private int passed;
  private int failed;
  private int skipped;
  private final List<String> failures = new ArrayList<>();
  private final List<String> flaky = new ArrayList<>();
  private final Map<String, Map<String, Integer>> skips = new TreeMap<>();

  public static void main(String[] arguments) throws IOException, XMLStreamException {
    Path root = Path.of(arguments[0]);
    TestReport whole = new TestReport();
    List<Path> modules;
    try (Stream<Path> folders = Files.list(root)) {
      modules = folders.filter(folder -> Files.isRegularFile(folder.resolve("pom.xml"))).sorted().toList();
    }
    for (Path module : modules) {
      whole.add(module);
    }
    whole.failures.forEach(System.out::println);
    whole.flaky.forEach(System.out::println);
    whole.skips.forEach((reason, tests) -> System.out.println("skipped, " + reason + ": " + tests));
    try (PrintStream sums = new PrintStream(new FileOutputStream("/dev/fd/3"))) {
      sums.println(whole.passed + " " + whole.failed + " " + whole.skipped);
    }
  }

  private void add(Path module) throws IOException, XMLStreamException {
    int before = passed + failed + skipped;
    int failedBefore = failed;
    Path reports = module.resolve("target/surefire-reports");
    if (Files.isDirectory(reports)) {
      List<Path> files;
      try (Stream<Path> all = Files.list(reports)) {
        files = all.filter(file -> file.getFileName().toString().matches("TEST-.*\\.xml")).sorted().toList();
      }
      for (Path file : files) {
        read(file);
      }
    }
    int ran = passed + failed + skipped - before;
    if (ran == 0 && hasTests(module)) {
      failed++;
      failures.add("FAILED " + module.getFileName() + ": has tests, but none ran");
    } else if (ran > 0) {
      int bad = failed - failedBefore;
      System.out.println(module.getFileName() + ": " + ran + " tests" + (bad > 0 ? ", " + bad + " failed" : ""));
    }
  }

  private static boolean hasTests(Path module) throws IOException {
    Path sources = module.resolve("src/test/java");
    if (!Files.isDirectory(sources)) {
      return false;
    }
    try (Stream<Path> files = Files.walk(sources)) {
      return files.anyMatch(file -> file.getFileName().toString().endsWith("Test.java"));
    }
  }

  private void read(Path file) throws IOException, XMLStreamException {
    XMLInputFactory factory = XMLInputFactory.newInstance();
    factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
    try (InputStream in = new FileInputStream(file.toFile())) {
      XMLStreamReader xml = factory.createXMLStreamReader(in);
      String test = "";
      String outcome = "";
      while (xml.hasNext()) {
        int event = xml.next();
        if (event == XMLStreamConstants.START_ELEMENT) {
          switch (xml.getLocalName()) {
            case "testcase" -> {
              test = simple(xml.getAttributeValue(null, "classname")) + "." + xml.getAttributeValue(null, "name");
              outcome = "passed";
            }
            case "failure", "error" -> {
              if (outcome.equals("passed")) {
                failures.add("FAILED " + test + ": " + message(xml));
              }
              outcome = "failed";
            }
            case "flakyFailure", "flakyError" ->
                // It passed when it was run once more; told, so that somebody looks into it.
                flaky.add("FLAKY " + test + ": passed at the second try, after: " + message(xml));
            case "skipped" -> {
              skips
                  .computeIfAbsent(message(xml), _ -> new TreeMap<>())
                  .merge(test.substring(0, test.indexOf('.')), 1, Integer::sum);
              outcome = "skipped";
            }
            default -> {}
          }
        } else if (event == XMLStreamConstants.END_ELEMENT && xml.getLocalName().equals("testcase")) {
          switch (outcome) {
            case "passed" -> passed++;
            case "failed" -> failed++;
            default -> skipped++;
          }
        }
      }
    }
  }

  private static String simple(String name) {
    return name == null ? "?" : name.substring(name.lastIndexOf('.') + 1);
  }

  private static String message(XMLStreamReader xml) {
    String message = xml.getAttributeValue(null, "message");
    if (message == null) {
      message = xml.getAttributeValue(null, "type");
    }
    String first = message == null ? "no reason given" : message.strip().lines().findFirst().orElse("");
    return first.length() > 200 ? first.substring(0, 200) + " ..." : first;
  }
}
