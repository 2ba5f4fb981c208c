package io.tailwater.agent.control.capture;

import java.nio.file.Path;

/// A folder of network namespaces, such as `/run/netns`: every one in it is a pod of `namespace`,
/// named as its file.
public record PodFolder(Path folder, String namespace) implements PodEntry {}
