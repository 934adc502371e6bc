/* SPDX-License-Identifier: Apache-2.0 */
/* What both steering programs share: the sockets, and whether their worker is alive.
 *
 * A worker writes the time (CLOCK_MONOTONIC, nanoseconds) into its slot of `heartbeat` in every
 * turn. `queue_slot` says which worker serves which queue, as slot + 1, so that an entry nobody
 * wrote means nobody. A queue whose worker has not beaten for STALE_NS is treated as if it had no
 * socket. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define STALE_NS 1000000000LL
#define MAX_QUEUES 64
#define MAX_WORKERS 64

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} queue_slot SEC(".maps");

/* Replaced at load by the one map of the process. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_WORKERS);
	__type(key, __u32);
	__type(value, __u64);
} heartbeat SEC(".maps");

/* Packets that should have gone to a socket and did not: no socket, or a stale worker. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} missed SEC(".maps");

static __always_inline int worker_beats(__u32 queue)
{
	__u32 *slot = bpf_map_lookup_elem(&queue_slot, &queue);
	__u64 *beat;
	__u32 at;

	if (!slot || !*slot)
		return 0;
	at = *slot - 1;
	beat = bpf_map_lookup_elem(&heartbeat, &at);
	if (!beat || !*beat)
		return 0;
	/* Signed: a beat may be newer than the clock read here. */
	return (__s64)(bpf_ktime_get_ns() - *beat) < STALE_NS;
}

static __always_inline int to_socket(struct xdp_md *ctx, int otherwise)
{
	__u32 queue = ctx->rx_queue_index;
	__u32 zero = 0;
	__u64 *count;

	if (worker_beats(queue)) {
		int verdict = bpf_redirect_map(&sockets, queue, otherwise);

		if (verdict == XDP_REDIRECT)
			return verdict;
	}
	count = bpf_map_lookup_elem(&missed, &zero);
	if (count)
		*count += 1;
	return otherwise;
}
