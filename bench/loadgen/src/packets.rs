//! UDP packets in batches: `recvmmsg` and `sendmmsg`.
#![expect(unsafe_code, reason = "the system calls are wrapped here, once")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use crate::sys::{self, ADDRESS_SIZE};

/// Most packets one system call moves.
pub const BATCH: usize = 64;
const PACKET: usize = 2048;

#[repr(C, align(8))]
struct Control([u8; 64]);

/// Room for a batch of UDP packets, each with where it came from.
pub struct Packets {
    data: Box<[[u8; PACKET]]>,
    lengths: [usize; BATCH],
    from: Box<[libc::sockaddr_in; BATCH]>,
    control: Box<[Control; BATCH]>,
    control_lengths: [usize; BATCH],
}

impl Packets {
    /// An empty batch.
    pub fn new() -> Self {
        // SAFETY: all-zero addresses are valid.
        let nobody: libc::sockaddr_in = unsafe { mem::zeroed() };
        Self {
            data: vec![[0; PACKET]; BATCH].into_boxed_slice(),
            lengths: [0; BATCH],
            from: Box::new([nobody; BATCH]),
            control: Box::new([const { Control([0; 64]) }; BATCH]),
            control_lengths: [0; BATCH],
        }
    }

    /// Packet `index` as it was received.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.data[index][..self.lengths[index]]
    }

    /// Room for packet `index`, of so many bytes, to be sent.
    pub fn put(&mut self, index: usize, length: usize) -> &mut [u8] {
        self.lengths[index] = length;
        &mut self.data[index][..length]
    }

    fn headers(
        &mut self,
        count: usize,
        vectors: &mut [libc::iovec; BATCH],
        addressed: bool,
    ) -> [libc::mmsghdr; BATCH] {
        // SAFETY: all-zero headers are valid: nothing to send, nowhere.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for index in 0..count {
            vectors[index].iov_base = self.data[index].as_mut_ptr().cast();
            vectors[index].iov_len = self.lengths[index];
            let header = &mut headers[index].msg_hdr;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            if addressed {
                header.msg_name = (&raw mut self.from[index]).cast();
                header.msg_namelen = ADDRESS_SIZE;
                header.msg_control = self.control[index].0.as_mut_ptr().cast();
                header.msg_controllen = self.control_lengths[index];
            }
        }
        headers
    }

    /// Receives what is there, up to a batch. `addressed` keeps where each came from and went to.
    pub fn receive(&mut self, fd: &OwnedFd, addressed: bool) -> io::Result<usize> {
        self.lengths = [PACKET; BATCH];
        self.control_lengths = [size_of::<Control>(); BATCH];
        let mut vectors = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; BATCH];
        let mut headers = self.headers(BATCH, &mut vectors, addressed);
        // SAFETY: every header points into `self` and `vectors`, which outlive the call.
        let count = sys::check(unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })? as usize;
        for (index, header) in headers.iter().enumerate().take(count) {
            self.lengths[index] = header.msg_len as usize;
            self.control_lengths[index] = header.msg_hdr.msg_controllen;
            if addressed {
                answer_from_where_it_was_asked(&header.msg_hdr);
            }
        }
        Ok(count)
    }

    /// Sends the first `count`; returns how many the socket took. `addressed` sends them back to
    /// where they came from.
    pub fn send(&mut self, fd: &OwnedFd, count: usize, addressed: bool) -> io::Result<usize> {
        let mut vectors = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; BATCH];
        let mut headers = self.headers(count, &mut vectors, addressed);
        // SAFETY: as in `receive`.
        let sent = sys::check(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                count as u32,
                libc::MSG_DONTWAIT as _,
            )
        })?;
        Ok(sent as usize)
    }
}

/// Turns the `IP_PKTINFO` of a received packet into that of its answer (ip(7)).
fn answer_from_where_it_was_asked(header: &libc::msghdr) {
    // SAFETY: the kernel filled the control buffer; CMSG_FIRSTHDR checks its length, and the
    // buffer is aligned and large enough for one in_pktinfo.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        if !message.is_null() && (*message).cmsg_type == libc::IP_PKTINFO {
            let place = libc::CMSG_DATA(message);
            let mut info = place.cast::<[u8; size_of::<libc::in_pktinfo>()]>().read();
            // ipi_ifindex, ipi_spec_dst, ipi_addr: four bytes each.
            let (interface, rest) = info.split_at_mut(4);
            let (answer_from, asked_at) = rest.split_at_mut(4);
            interface.fill(0);
            answer_from.copy_from_slice(asked_at);
            place
                .cast::<[u8; size_of::<libc::in_pktinfo>()]>()
                .write(info);
        }
    }
}
