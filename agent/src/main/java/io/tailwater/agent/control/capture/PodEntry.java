package io.tailwater.agent.control.capture;

/// One item of `pods:`.
public sealed interface PodEntry permits PodSpec, PodFolder {}
