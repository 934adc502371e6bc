// SPDX-License-Identifier: Apache-2.0
/* On the host end of a workload's interface: every frame belongs to the queue's socket.
 *
 * Without a socket, or with a worker that stopped beating, the frame is dropped: a tenant's frame
 * must never enter the host's stack. */
#include "steer.h"

SEC("xdp.frags")
int vrouter_tenant(struct xdp_md *ctx)
{
	return to_socket(ctx, XDP_DROP);
}

char LICENSE[] SEC("license") = "Apache-2.0";
