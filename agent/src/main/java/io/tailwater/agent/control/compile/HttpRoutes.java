package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RequestMatch;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.dataplane.route.TextMatch;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// Makes the `http` routes of a VirtualService into cases. Pure.
final class HttpRoutes {
  private HttpRoutes() {}

  /// Where a route leads. With `made`, each destination does its own to requests.
  @FunctionalInterface
  interface Leads {
    Action to(VirtualService.Http route, Optional<Made> made);
  }

  /// What is done to requests, but for their headers.
  record Made(
      Optional<String> authority,
      Optional<RequestPolicy.PathRewrite> path,
      Optional<Duration> timeout,
      RequestPolicy.Retries retries) {
    /// With what a route and one of its destinations do to headers.
    RequestPolicy with(VirtualService.HeaderChanges route, VirtualService.HeaderChanges to) {
      RequestPolicy.Headers request = headers(route.request(), to.request());
      @Nullable String host =
          request.set().containsKey("host")
              ? request.set().get("host")
              : request.set().get(":authority");
      return new RequestPolicy(
          authority.or(() -> Optional.ofNullable(host)),
          path,
          timeout,
          retries,
          withoutAuthority(request),
          headers(route.response(), to.response()));
    }

    /// Host is told as the authority.
    private static RequestPolicy.Headers withoutAuthority(RequestPolicy.Headers headers) {
      Map<String, String> set = new HashMap<>(headers.set());
      set.remove("host");
      set.remove(":authority");
      return new RequestPolicy.Headers(set, headers.add(), headers.remove());
    }
  }

  private static RequestPolicy.Headers headers(
      VirtualService.Changes route, VirtualService.Changes to) {
    if (to.equals(VirtualService.Changes.NONE)) {
      return new RequestPolicy.Headers(route.set(), route.add(), route.remove());
    }
    Map<String, String> set = new HashMap<>(route.set());
    set.putAll(to.set());
    Map<String, String> add = new HashMap<>(route.add());
    add.putAll(to.add());
    List<String> remove = new ArrayList<>(route.remove());
    remove.addAll(to.remove());
    return new RequestPolicy.Headers(set, add, remove);
  }

  /// The routes in order; empty where none is for the client. A request that none of them takes is
  /// refused, for the host has routes and not this one.
  static Optional<Action> action(
      VirtualService service, Predicate<VirtualService.Source> holds, Leads leads) {
    List<Action.Case> cases = new ArrayList<>();
    boolean all = false;
    for (VirtualService.Http route : service.http()) {
      if (all) {
        break;
      }
      if (route.match().isEmpty()) {
        cases.add(one(service, route, Action.Condition.ALWAYS, Optional.empty(), leads));
        all = true;
      }
      for (VirtualService.HttpMatch match : route.match()) {
        if (!all && holds.test(match.source())) {
          RequestMatch asked = asked(match);
          all = asked.isEmpty();
          cases.add(one(service, route, all ? Action.Condition.ALWAYS : asked, match.uri(), leads));
        }
      }
    }
    if (cases.isEmpty()) {
      return Optional.empty();
    }
    Action.Case first = cases.getFirst();
    if (cases.size() == 1 && all && first.request().equals(RequestPolicy.NONE)) {
      return Optional.of(first.action());
    }
    return Optional.of(
        new Action.Cases(
            cases,
            all ? Optional.empty() : Optional.of(new Action.NoRoute(service.ref())),
            service.ref()));
  }

  private static RequestMatch asked(VirtualService.HttpMatch match) {
    return new RequestMatch(
        match.uri(),
        match.scheme(),
        match.method(),
        match.authority(),
        match.headers(),
        match.withoutHeaders(),
        match.queryParams());
  }

  private static Action.Case one(
      VirtualService service,
      VirtualService.Http route,
      Action.Condition condition,
      Optional<TextMatch> uri,
      Leads leads) {
    Optional<String> to = route.rewrite().flatMap(VirtualService.Rewrite::uri);
    Optional<String> from = uri.map(HttpRoutes::matched).orElse(Optional.of("/"));
    if (route.cannot().isPresent() || (to.isPresent() && from.isEmpty())) {
      return new Action.Case(condition, refused(service));
    }
    Made made =
        new Made(
            route.rewrite().flatMap(VirtualService.Rewrite::authority),
            to.map(by -> new RequestPolicy.PathRewrite(from.orElseThrow(), by)),
            route.timeout().filter(t -> !t.isZero()),
            route.retries().map(HttpRoutes::retries).orElse(RequestPolicy.NONE.retries()));
    boolean byDestination =
        route.route().stream()
            .anyMatch(w -> !w.headers().equals(VirtualService.HeaderChanges.NONE));
    return byDestination
        ? new Action.Case(condition, leads.to(route, Optional.of(made)))
        : new Action.Case(
            condition,
            leads.to(route, Optional.empty()),
            made.with(route.headers(), VirtualService.HeaderChanges.NONE));
  }

  /// What of the path a rewrite takes the place of; empty where that depends on the path.
  private static Optional<String> matched(TextMatch uri) {
    return switch (uri) {
      case TextMatch.Exact(String path) -> Optional.of(path);
      case TextMatch.Prefix(String prefix) -> Optional.of(prefix);
      case TextMatch.Present _ -> Optional.of("/");
      case TextMatch.Regex _, TextMatch.IgnoringCase _ -> Optional.empty();
    };
  }

  private static RequestPolicy.Retries retries(VirtualService.Retries retries) {
    return new RequestPolicy.Retries(
        retries.attempts(),
        retries.perTryTimeout(),
        retries.on().isEmpty() ? RequestPolicy.Retries.DEFAULT.on() : retries.on());
  }

  /// Never passed, whatever becomes of unknown destinations.
  private static Action refused(VirtualService service) {
    return new Action.CannotReach(
        new Decision.Refuse(
            Refusal.NOT_SUPPORTED_YET, Optional.empty(), Optional.of(service.ref())),
        service.ref());
  }
}
