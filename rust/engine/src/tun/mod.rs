//! A TUN: the packets of this host's programs, read and answered here.
//!
//! ```text
//! kernel --read--> Device --TCP--> stack --> streams (arrivals)
//!                     |---UDP--> datagrams::Hub --> ways out
//!                     `---ICMP-> what is answered here
//! ```
//!
//! Packets are read and written with a virtio-net header, so that the kernel hands over (and takes) up
//! to 64 KiB at once and leaves checksums undone. Each offload works for itself: without one, its work
//! is done in `device`. One task, on one loop, reads the device; a batch is run to its end before the
//! next is read. Read in this order: `device`, `near`.

mod device;
mod near;

pub use device::{Device, Offloads};
pub use near::open;

pub use crate::watched::duplicate;
