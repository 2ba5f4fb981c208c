package io.tailwater.perf.bench;

/// One value of one contestant in one round; rounds count from 1.
public record Sample(int round, String contestant, Measure measure, double value) {}
