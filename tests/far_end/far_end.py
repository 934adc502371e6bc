#!/usr/bin/env python3
"""An independent MPLSoGRE and MPLSoUDP endpoint on raw sockets, with scapy as its codec.

It shares no code with the product: what it accepts and what it builds is RFC 4023 and RFC 7510 as scapy and this file
understand them. It answers echo requests that arrive under its label, sends its own, and prints one JSON object:

    {"received": N, "answered": N, "sent": N, "replies": N, "ports": [...], "errors": ["..."]}

`errors` lists every field on the wire that was not as the standards or the reference say.
"""

import argparse
import json
import select
import socket
import sys
import time

from scapy.config import conf

conf.verb = 0
from scapy.contrib.mpls import MPLS  # noqa: E402
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP  # noqa: E402,F401
from scapy.packet import Raw  # noqa: E402

MPLS_UDP_PORT = 6635
GRE_PROTOCOL = 47


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encapsulation", choices=["mplsogre", "mplsoudp"], required=True)
    parser.add_argument("--endpoint", required=True, help="own tunnel address")
    parser.add_argument("--peer", required=True, help="the vRouter's tunnel address")
    parser.add_argument("--label-in", type=int, required=True, help="label that means our workload")
    parser.add_argument("--label-out", type=int, required=True, help="label that means the vRouter's workload")
    parser.add_argument("--inner", required=True, help="our workload's address")
    parser.add_argument("--inner-peer", required=True, help="the vRouter's workload's address")
    parser.add_argument("--expect", type=int, default=0, help="end after this many requests were answered")
    parser.add_argument("--send", type=int, default=0, help="send this many requests and wait for the replies")
    parser.add_argument("--seconds", type=float, default=10, help="give up after this time")
    return parser.parse_args()


class FarEnd:
    def __init__(self, args):
        self.args = args
        self.over_udp = args.encapsulation == "mplsoudp"
        protocol = socket.IPPROTO_UDP if self.over_udp else GRE_PROTOCOL
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        self.raw.bind((args.endpoint, 0))
        self.raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        self.raw.setblocking(False)
        if self.over_udp:
            # Nobody reads it; it keeps the kernel from answering with "port unreachable".
            self.bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.bound.bind((args.endpoint, MPLS_UDP_PORT))
        self.report = {"received": 0, "answered": 0, "sent": 0, "replies": 0, "ports": [], "errors": []}

    def error(self, text):
        if text not in self.report["errors"]:
            self.report["errors"].append(text)

    def check(self, what, got, wanted):
        if got != wanted:
            self.error(f"{what} is {got}, not {wanted}")

    def decapsulate(self, data):
        """The inner IP packet, or None for what is not for us. Judges every field of the outer headers."""
        outer = IP(data)
        if outer.dst != self.args.endpoint or outer.src != self.args.peer:
            return None
        if self.over_udp:
            if outer.proto != socket.IPPROTO_UDP or outer[UDP].dport != MPLS_UDP_PORT:
                return None
            udp = outer[UDP]
            self.check("outer UDP checksum", udp.chksum, 0)
            self.check("outer UDP length", udp.len, outer.len - outer.ihl * 4)
            if not 49152 <= udp.sport <= 65535:
                self.error(f"outer UDP source port {udp.sport} is outside 49152..65535")
            if udp.sport not in self.report["ports"]:
                self.report["ports"].append(udp.sport)
            shim = MPLS(bytes(udp.payload))
        else:
            gre = outer[GRE]
            self.check("GRE flags", int.from_bytes(bytes(gre)[:2], "big"), 0)
            self.check("GRE protocol", gre.proto, 0x8847)
            shim = MPLS(bytes(gre)[4:])
        self.check("outer IP version and length", (outer.version, outer.ihl), (4, 5))
        self.check("outer IP total length", outer.len, len(data))
        self.check("outer TTL", outer.ttl, 64)
        self.check("outer TOS", outer.tos, 0)
        self.check("outer fragment field", (int(outer.flags), outer.frag), (0, 0))
        again = IP(bytes(outer)[: outer.ihl * 4])
        del again.chksum
        self.check("outer IP checksum", outer.chksum, IP(bytes(again)).chksum)
        self.check("label", shim.label, self.args.label_in)
        self.check("bottom of stack", shim.s, 1)
        if shim.ttl == 0:
            self.error("label TTL is 0")
        inner = IP(bytes(shim)[4:])
        self.check("outer id (copy of the inner one)", outer.id, inner.id)
        self.check("inner destination", inner.dst, self.args.inner)
        self.check("inner source", inner.src, self.args.inner_peer)
        self.check("inner TTL", inner.ttl, 63)
        again = inner.copy()
        del again.chksum
        self.check("inner IP checksum", inner.chksum, IP(bytes(again)).chksum)
        return inner

    def encapsulate(self, inner):
        shim = MPLS(label=self.args.label_out, s=1, ttl=64) / Raw(bytes(inner))
        outer = IP(src=self.args.endpoint, dst=self.args.peer, ttl=64)
        if self.over_udp:
            packet = outer / UDP(sport=50123, dport=MPLS_UDP_PORT, chksum=0) / shim
        else:
            packet = outer / GRE(proto=0x8847) / shim
        self.raw.sendto(bytes(packet), (self.args.peer, 0))

    def request(self, sequence):
        inner = IP(src=self.args.inner, dst=self.args.inner_peer, ttl=64, id=1000 + sequence)
        self.encapsulate(inner / ICMP(type=8, id=0x77, seq=sequence) / Raw(b"far end " * 8))
        self.report["sent"] += 1

    def receive(self, data):
        inner = self.decapsulate(data)
        if inner is None:
            return
        self.report["received"] += 1
        if ICMP not in inner:
            self.error(f"inner protocol {inner.proto} was not expected")
        elif inner[ICMP].type == 8:
            echo = inner[ICMP]
            reply = IP(src=inner.dst, dst=inner.src, ttl=64, id=inner.id)
            self.encapsulate(reply / ICMP(type=0, id=echo.id, seq=echo.seq) / Raw(bytes(echo.payload)))
            self.report["answered"] += 1
        elif inner[ICMP].type == 0 and inner[ICMP].id == 0x77:
            self.check("echoed data", bytes(inner[ICMP].payload), b"far end " * 8)
            self.report["replies"] += 1

    def done(self):
        report, args = self.report, self.args
        return report["answered"] >= args.expect and report["sent"] >= args.send and report["replies"] >= args.send

    def run(self):
        print("ready", flush=True)
        end = time.monotonic() + self.args.seconds
        next_request = time.monotonic()
        while time.monotonic() < end and not self.done():
            if self.report["sent"] < self.args.send and time.monotonic() >= next_request:
                self.request(self.report["sent"])
                next_request += 0.02
            readable, _, _ = select.select([self.raw], [], [], 0.01)
            while readable:
                try:
                    self.receive(self.raw.recv(65535))
                except BlockingIOError:
                    break
        if not self.done():
            self.error("time is over")
        print(json.dumps(self.report), flush=True)
        return 1 if self.report["errors"] else 0


if __name__ == "__main__":
    sys.exit(FarEnd(arguments()).run())
