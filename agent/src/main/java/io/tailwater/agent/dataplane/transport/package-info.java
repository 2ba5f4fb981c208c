/// Which kernel interface moves bytes, and in which namespace and with which marks sockets are
/// born. In: what socket is wanted. Out: Netty channels. Sockets in pods are made by one
/// `SocketMaker` platform thread per loop. Neighbours: accept and connect ask for sockets;
/// native-iptables enters namespaces.
@NullMarked
package io.tailwater.agent.dataplane.transport;

import org.jspecify.annotations.NullMarked;
