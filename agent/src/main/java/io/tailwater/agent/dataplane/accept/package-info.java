/// From a captured connection to what is known of it before a byte is read. In: pods' sockets. Out:
/// `Intercepted`. Listeners are opened on the capture thread and accept on the loops, one listener
/// per loop and pod (SO_REUSEPORT), so that a connection never changes its loop. Neighbours:
/// capture opens and closes, flow takes over.
@NullMarked
package io.tailwater.agent.dataplane.accept;

import org.jspecify.annotations.NullMarked;
