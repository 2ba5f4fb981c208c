/// What Istio's and Kubernetes' resources say, read and validated one by one. In: a `KubeObject`.
/// Out: an immutable record of the resource and every `Problem` found in it. Neighbours:
/// `control.source` delivers the objects; `control.compile` makes routes of what is read here.
@NullMarked
package io.tailwater.agent.control.istio;

import org.jspecify.annotations.NullMarked;
