package io.tailwater.agent.control.istio;

import io.tailwater.agent.dataplane.tls.Credential;

/// A Kubernetes Secret with certificates, or a ConfigMap with authorities, as far as
/// `credentialName` reads it.
///
/// @param name the Secret's, or `configmap://NAMESPACE/NAME` of a ConfigMap: as `credentialName`
///   writes it
public record KubeSecret(String namespace, String name, Credential credential) {}
