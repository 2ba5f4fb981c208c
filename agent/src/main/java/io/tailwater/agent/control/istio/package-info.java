/// Istio's resources, read, validated and compiled. In: resources of all sources and the mesh's
/// settings. Out: one immutable route table at a time. A single writer compiles; everything handed
/// out is immutable. Neighbours: `control.source` delivers, `dataplane.route` is compiled to.
@NullMarked
package io.tailwater.agent.control.istio;

import org.jspecify.annotations.NullMarked;
