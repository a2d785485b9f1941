import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** All of IPv6 that is routed between networks (RFC 4291, the part IANA has handed out). */
const GLOBAL_UNICAST = ipaddr.parseCIDR('2000::/3');

/**
 * Whether an address is anybody's on the internet: of IPv4 nothing private, shared (CGNAT), local, reserved or multicast; of IPv6 only
 * global unicast, and nothing that wraps an IPv4 address (mapped, 6to4, NAT64, Teredo), for what it wraps may be private. Addresses
 * of cloud metadata (169.254.169.254, fd00:ec2::254) are local ones.
 */
export function isPublic(address: string): boolean {
  if (isIP(address) === 0) return false; // the package also takes what only looks like one
  const parsed = ipaddr.parse(address);
  return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(GLOBAL_UNICAST));
}

/** Whether an address is this machine's own, 127.0.0.0/8 or ::1. */
export const isLoopback = (address: string): boolean =>
  isIP(address) !== 0 && ipaddr.parse(address).range() === 'loopback';
