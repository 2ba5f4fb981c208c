/// From where policy is written to the resources that are in force. In: files of YAML or JSON
/// (later Kubernetes and istiod). Out: `SourceSnapshot`s of `KubeObject`s with `Problem`s, and one
/// `ResourceSet` over all sources. Sources deliver resources, never routes. Each source watches on
/// a virtual thread of its own. Neighbours: `control.istio` gives resources their meaning; `config`
/// and `cli` read their files through the same positioned tree.
@NullMarked
package io.tailwater.agent.control.source;

import org.jspecify.annotations.NullMarked;
