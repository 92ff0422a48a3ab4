//! Addresses of the lab, and the frames that most cases begin with.

use std::net::Ipv4Addr;

use route_cache_lab::{Frame, link::Mac};

/// The client's link-layer address, and the router's at `left`.
pub const CLIENT: (Mac, Mac) = ([2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 1, 1]);
/// The second client's, and the router's at `left2`.
pub const SECOND: (Mac, Mac) = ([2, 0, 0, 0, 4, 2], [2, 0, 0, 0, 4, 1]);
/// The client.
pub const FROM: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// Nobody's, behind the server.
pub const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// As the client sends it.
pub fn sent(frame: Frame) -> Vec<Vec<u8>> {
    vec![frame.macs(CLIENT.0, CLIENT.1).build()]
}

/// A datagram from the client to nobody behind the server.
pub fn udp() -> Frame {
    to(BEYOND)
}

/// A datagram from the client.
pub fn to(destination: impl Into<Ipv4Addr>) -> Frame {
    flow(FROM, destination, b"an odd number of bytes.")
}

/// A datagram from this source.
pub fn from(source: impl Into<Ipv4Addr>) -> Frame {
    flow(source, BEYOND, b"an odd number of bytes.")
}

/// A datagram.
pub fn flow(
    source: impl Into<Ipv4Addr>,
    destination: impl Into<Ipv4Addr>,
    payload: &[u8],
) -> Frame {
    Frame::udp((source.into(), 4000), (destination.into(), 4001), payload)
}

/// A datagram from the client whose IP packet has this size.
pub fn sized(size: usize) -> Frame {
    flow(FROM, BEYOND, &vec![0x5a; size - 28])
}

/// A segment from the client.
pub fn tcp(payload: &[u8]) -> Frame {
    Frame::tcp((FROM, 4000), (BEYOND, 4001), 7, payload)
}
