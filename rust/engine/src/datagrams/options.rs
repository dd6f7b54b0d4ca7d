//! The bounds of a listener.

use std::net::SocketAddr;
use std::time::Duration;

/// What a packet that waits counts beside its payload: about what keeping it takes.
pub const OVERHEAD: usize = 64;

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub struct PacketOptions {
    /// A flow without packets for so long ends, and a session with its last flow.
    pub idle: Duration,
    /// Sessions at once; a further one displaces the one that was silent longest, of those that were
    /// never answered while these are more than a quarter.
    pub sessions: usize,
    /// Targets per session; a further one displaces the one that was silent longest.
    pub targets: usize,
    /// Bytes of packets that may wait for the verdicts of one session, `OVERHEAD` for each
    /// packet; further ones are dropped.
    pub waiting: usize,
    /// Accept from this source alone (a SOCKS association). Port zero stands for the first one seen.
    pub only: Option<SocketAddr>,
    /// The firewall mark of what leaves for the sources (`SO_MARK`).
    pub mark: Option<u32>,
}

impl Default for PacketOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            sessions: 4096,
            targets: 1024,
            waiting: 512 * 1024,
            only: None,
            mark: None,
        }
    }
}

impl PacketOptions {
    /// Sessions at once: an association has one.
    pub(super) fn most_sessions(&self) -> usize {
        if self.only.is_some() {
            1
        } else {
            self.sessions
        }
    }

    /// The same for a near end that is one session.
    pub(super) fn for_one(&self) -> Self {
        Self {
            sessions: 1,
            only: None,
            ..self.clone()
        }
    }
}
