/// From where and how a connection was dialled to where it goes. In: original destination and
/// `Preface` of a pod. Out: `Decision`. Pure and immutable, no Netty: readable on any thread.
/// Neighbours: control compiles the table, flow asks it; `explain` and `test` ask the same code.
@NullMarked
package io.tailwater.agent.dataplane.route;

import org.jspecify.annotations.NullMarked;
