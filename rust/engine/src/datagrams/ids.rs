//! What sessions, flows and their origins are known by.

use std::net::SocketAddr;

/// Names a session for good; its index is used again, its serial never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    pub index: u32,
    pub serial: u64,
}

/// Names a flow for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId {
    pub index: u32,
    pub serial: u64,
}

/// What a session is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The address that its packets come from.
    Source(SocketAddr),
    /// An id that the client chose and proves with each packet, and whose it is; such a client may
    /// change its address.
    Guest {
        /// Which of several users; `u32::MAX` where there is one.
        user: u32,
        /// The client's session id.
        id: u64,
    },
}

impl Origin {
    /// A session that proves itself; `user` where there are several.
    pub fn guest(user: Option<u32>, id: u64) -> Self {
        let user = user.unwrap_or(u32::MAX);
        Self::Guest { user, id }
    }

    /// Which of several users.
    pub fn user(self) -> Option<u32> {
        match self {
            Self::Guest { user, .. } if user != u32::MAX => Some(user),
            _ => None,
        }
    }
}
