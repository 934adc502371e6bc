// SPDX-License-Identifier: Apache-2.0
/* On the uplink: tunnel packets for one of our endpoints belong to the queue's socket.
 *
 * Taken are, unfragmented and with the device's own destination MAC, to an address in
 * `endpoints4` or `endpoints6`:
 *   GRE version 0 carrying MPLS, with no flag but checksum and key;
 *   UDP to the ports of MPLSoUDP (6635, and 51234 of older vRouters) and VXLAN (4789).
 * Everything else is the kernel's, and so is all of it when no worker is there to take it: a node
 * whose vRouter is gone stays reachable. Nothing here looks past the outermost tunnel header. */
#include "steer.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#define PORT_MPLS 6635
#define PORT_MPLS_OLD 51234
#define PORT_VXLAN 4789

#define FRAGMENT 0x3fff /* more fragments, or not the first */
#define GRE_TOLERATED 0xa000 /* checksum, key */

#define MAX_ENDPOINTS 64

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u8[4]);
	__type(value, __u8);
} endpoints4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u8[16]);
	__type(value, __u8);
} endpoints6 SEC(".maps");

/* The device's MAC in the lower six bytes, in memory order; 0 accepts every MAC. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[8]);
} device_mac SEC(".maps");

struct gre {
	__be16 flags;
	__be16 protocol;
};

static __always_inline int mac_is_ours(const struct ethhdr *eth)
{
	__u32 zero = 0;
	__u8 *mac = bpf_map_lookup_elem(&device_mac, &zero);

	if (!mac)
		return 0;
	if (!(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]))
		return 1;
	return !((mac[0] ^ eth->h_dest[0]) | (mac[1] ^ eth->h_dest[1]) |
		 (mac[2] ^ eth->h_dest[2]) | (mac[3] ^ eth->h_dest[3]) |
		 (mac[4] ^ eth->h_dest[4]) | (mac[5] ^ eth->h_dest[5]));
}

static __always_inline int is_tunnel(__u8 protocol, void *next, void *end)
{
	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = next;

		if ((void *)(udp + 1) > end)
			return 0;
		return udp->dest == bpf_htons(PORT_MPLS) ||
		       udp->dest == bpf_htons(PORT_MPLS_OLD) ||
		       udp->dest == bpf_htons(PORT_VXLAN);
	}
	if (protocol == IPPROTO_GRE) {
		struct gre *gre = next;

		if ((void *)(gre + 1) > end)
			return 0;
		return gre->protocol == bpf_htons(ETH_P_MPLS_UC) &&
		       !(gre->flags & bpf_htons((__u16)~GRE_TOLERATED));
	}
	return 0;
}

static __always_inline int is_ours4(struct iphdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(FRAGMENT))
		return 0;
	if (!is_tunnel(ip->protocol, (void *)ip + ip->ihl * 4, end))
		return 0;
	return bpf_map_lookup_elem(&endpoints4, &ip->daddr) != 0;
}

/* An extension header, the fragment header among them, is no tunnel. */
static __always_inline int is_ours6(struct ipv6hdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version != 6 || !is_tunnel(ip->nexthdr, ip + 1, end))
		return 0;
	return bpf_map_lookup_elem(&endpoints6, &ip->daddr) != 0;
}

SEC("xdp.frags")
int vrouter_uplink(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	int ours = 0;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		ours = is_ours4((void *)(eth + 1), end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		ours = is_ours6((void *)(eth + 1), end);
	if (!ours || !mac_is_ours(eth))
		return XDP_PASS;
	return to_socket(ctx, XDP_PASS);
}

char LICENSE[] SEC("license") = "Apache-2.0";
