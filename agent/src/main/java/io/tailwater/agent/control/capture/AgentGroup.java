package io.tailwater.agent.control.capture;

import io.tailwater.iptables.apply.OwnControlGroup;
import io.tailwater.iptables.rule.ControlGroup;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Whether rules know the agent by its control group too, at this moment, or by its mark alone. Any
/// thread.
///
/// By its mark alone while two agents serve the same pods, each from a group of its own: the old
/// one lets go of the group before the new one opens a listener, and the new one takes its own when
/// the old one has ended.
public final class AgentGroup {
  /// By its mark alone, for ever.
  public static final AgentGroup NONE = new AgentGroup();

  private static final Logger LOG = LoggerFactory.getLogger(AgentGroup.class);

  /// An agent that somebody moves to another group is locked out until this has noticed.
  private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(5);

  private final Optional<OwnControlGroup> own;
  private volatile Optional<ControlGroup> group;
  private volatile boolean shared;
  private volatile long lookedNanos = System.nanoTime();
  private volatile boolean suspended;

  private AgentGroup() {
    own = Optional.empty();
    group = Optional.empty();
  }

  /// @param shared not before [#belongsToOne]: other agents serve the pods too
  public AgentGroup(OwnControlGroup own, ControlGroup group, boolean shared) {
    this.own = Optional.of(own);
    this.group = Optional.of(group);
    this.shared = shared;
  }

  /// What rules are to ask for now.
  Optional<ControlGroup> now() {
    if (group.isEmpty() || suspended || shared) {
      return Optional.empty();
    }
    look();
    return group;
  }

  private void look() {
    long now = System.nanoTime();
    ControlGroup before = group.orElse(null);
    if (now - lookedNanos < LOOK_NANOS || before == null) {
      return;
    }
    lookedNanos = now;
    if (!own.orElseThrow().isStillIn(before)) {
      LOG.warn(
          "the agent has been moved out of the control group {}; its pods know it by its mark"
              + " alone from now on",
          before);
      group = Optional.empty();
    }
  }

  /// Rules are to do without from now on, or again with it. Whether that changes anything.
  public boolean suspend(boolean yes) {
    suspended = yes;
    return group.isPresent() && !shared;
  }

  /// Whether there is a group, and rules do without it because of agents before this one.
  public boolean isShared() {
    return shared && group.isPresent();
  }

  /// The agents before have ended. Whether rules are to be looked at for it.
  public boolean belongsToOne() {
    shared = false;
    return group.isPresent() && !suspended;
  }
}
