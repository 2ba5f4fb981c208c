package io.tailwater.agent.node;

import io.tailwater.agent.admin.AdminInputs;
import io.tailwater.agent.admin.Request;
import io.tailwater.agent.admin.Response;
import io.tailwater.agent.control.capture.CapturedPods;
import io.tailwater.agent.control.capture.PassPermit;
import io.tailwater.agent.control.compile.Explain;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/// `/explain`: the table in force, asked about one connection of a captured pod. On the admin
/// server's virtual threads; waits for the resolver where `resolve=true` asks for it.
final class ExplainPage implements AdminInputs.Explain {
  private final CapturedPods pods;
  private final PassPermit permit;
  private final CurrentRoutes routes;
  private final Resolver resolver;
  private final AddressFilter filter;

  ExplainPage(
      CapturedPods pods,
      PassPermit permit,
      CurrentRoutes routes,
      Resolver resolver,
      AddressFilter filter) {
    this.pods = pods;
    this.permit = permit;
    this.routes = routes;
    this.resolver = resolver;
    this.filter = filter;
  }

  @Override
  public Response explain(Request request) {
    Optional<String> from = request.parameter("from");
    Optional<String> to = request.parameter("to");
    if (from.isEmpty() || to.isEmpty()) {
      return Response.text(400, "wanted: from=NAMESPACE/POD and to=HOST_OR_IP:PORT\n");
    }
    Optional<CapturedPods.Status> known =
        pods.status().stream()
            .filter(status -> status.pod().ref().toString().equals(from.get()))
            .findFirst();
    if (known.isEmpty()) {
      return Response.text(400, "the pod " + from.get() + " is not known; " + knownPods() + "\n");
    }
    try {
      Pod pod =
          withLabels(known.get().pod(), request.parameters().getOrDefault("label", List.of()));
      Explain.Question question =
          new Explain.Question(
              pod,
              Explain.Destination.parse(to.get()),
              request.parameter("sni"),
              request.parameter("host"));
      boolean wait = request.parameter("resolve").filter("true"::equals).isPresent();
      Explain.Answer answer =
          Explain.run(routes.get(), question, name -> look(pod.ref(), name, wait), filter)
              .relayed(permit.relayed().or(() -> relayed(known.get())));
      return request.parameter("format").filter("json"::equals).isPresent()
          ? Response.json(Explain.json(answer))
          : Response.text(Explain.text(answer));
    } catch (IllegalArgumentException e) {
      return Response.text(400, e.getMessage() + "\n");
    }
  }

  /// Why none of the pod's connections takes the kernel pass, though they were to.
  private static Optional<String> relayed(CapturedPods.Status status) {
    String grade = status.grade();
    return grade.equals(Grade.KERNEL.text())
        ? Optional.empty()
        : Optional.of(
            grade.isEmpty()
                ? "the pod is not captured yet"
                : grade.substring(grade.indexOf(' ') + 1));
  }

  private String knownPods() {
    String known =
        pods.status().stream()
            .map(status -> status.pod().ref().toString())
            .collect(Collectors.joining(", "));
    return known.isEmpty() ? "no pod is captured" : "known are " + known;
  }

  private static Pod withLabels(Pod pod, List<String> pairs) {
    if (pairs.isEmpty()) {
      return pod;
    }
    Map<String, String> labels = new LinkedHashMap<>();
    for (String pair : pairs) {
      int equals = pair.indexOf('=');
      if (equals <= 0) {
        throw new IllegalArgumentException("the label \"" + pair + "\" is no KEY=VALUE");
      }
      labels.put(pair.substring(0, equals), pair.substring(equals + 1));
    }
    return new Pod(pod.ref(), pod.serviceAccount(), labels, pod.ips());
  }

  private Optional<Addresses> look(PodRef pod, HostName name, boolean wait) {
    Addresses present = resolver.ifPresent(pod, name);
    if (present != null || !wait) {
      return Optional.ofNullable(present);
    }
    CompletableFuture<Addresses> answer = new CompletableFuture<>();
    resolver.resolve(pod, name, Runnable::run, answer::complete);
    return Optional.of(answer.join());
  }
}
